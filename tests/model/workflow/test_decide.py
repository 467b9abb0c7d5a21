"""The decision of a run, over random workflows and dice: what must hold whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

from maestro.model.facts.workflow import (
    HandlerCalled,
    StepEnded,
    StepStarted,
    WorkflowRunFinished,
    WorkspaceArchived,
    WorkspaceArchiveWanted,
    WorkspaceRestoreWanted,
    WorkspaceReturned,
)
from maestro.model.workflow.decide import decide
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.timers import Timers
from maestro.model.workflow.instances import ENDED
from maestro.model.workflow.run import LINKS, Run
from maestro.model.workflow.status import Surroundings, steps_of
from tests.model.workflow.random_workflows import workflows
from tests.model.workflow.simulation import ONCE, Life

WAITS = {"needs", "approval", "retry", "group", "slot", "budget", "pause", "restore", "items"}


def state(run: Run) -> Any:
    """All that a run holds, to compare."""
    ordered = ("ready", "startable", "turning", "working", "prepared", "dropped", "failing", "instances", "current")
    return {
        name: list(value.items()) if name in ordered else value
        for name, value in vars(run).items()
        if name not in ("graph", "steps", "before_in_loop")
    }


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(workflows(), st.data())
def test_every_run_ends_and_keeps_its_rules(workflow: Workflow, data: st.DataObject) -> None:
    life = Life(workflow, data)
    rules = Rules(life)
    moves = 0
    while life.step():
        moves += 1
        assert moves < 5000, life.describe()
        rules.check()
    rules.check()
    run = life.run
    assert not run.working
    assert all(one.ended for one in run.instances.values()), [one for one in run.instances.values() if not one.ended]
    assert all(one.done for one in run.current.values())
    assert isinstance(life.facts[-1][0], WorkflowRunFinished)
    assert not decide(run, life.now)
    for one in run.instances.values():
        assert one.retries <= run.steps[one.step].retry.max
    for end in run.graph.loops:
        again = run.steps[end].again
        assert again is not None and run.turns[end] <= again.max
    assert len(run.called) == len(set(run.called))
    if run.fact.group and any(isinstance(fact, HandlerCalled) for fact, _ in life.facts):
        assert run.current  # it was admitted
    if workflow.final and run.called:
        assert run.called[-1] == workflow.final


class Rules:
    """What holds after every move, by a look at the facts and not at what the fold keeps ready."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.seen = 1
        self.archived: dict[str, str] = {}
        self.returned: dict[str, bool] = {}
        self.last: dict[str, StepEnded] = {}
        self.worked: dict[str, str] = {}

    def check(self) -> None:
        life = self.life
        new = life.facts[self.seen :]
        self.seen = len(life.facts)
        for fact, _ in new:
            self.fact(fact)
        self.parallel()
        self.status()

    def parallel(self) -> None:
        run = self.life.run
        for step, activation in run.current.items():
            most = run.steps[step].max_parallel
            working = sum(run.instances[id].step == step for id in (*run.working, *run.wishes, *run.prepared))
            assert most is None or working <= most
            assert len(activation.taken) == working + sum(run.instances[id].step == step for id in run.broken)

    def fact(self, fact: Any) -> None:
        run = self.life.run
        match fact:
            case WorkspaceArchiveWanted(instance=id):
                self.worked[id] = fact.agent
                self.archived.pop(id, None)
            case WorkspaceArchived(instance=id, error=""):
                self.archived.setdefault(id, fact.snapshot)
            case WorkspaceRestoreWanted(instance=id):
                assert fact.snapshot == self.archived[id]
            case WorkspaceReturned(instance=id, error=""):
                self.returned[id] = True
            case StepEnded(instance=id):
                self.last[id] = fact
                if fact.next == "agent":
                    self.archived.pop(id, None)
            case StepStarted(instance=id):
                assert not self.life.held
                self.started(run, fact)
                self.returned[id] = False

    def started(self, run: Run, fact: StepStarted) -> None:
        """An attempt begins: its needs, its workspace and its agent are as they must be, and there is budget."""
        id = fact.instance
        name = run.instances[id].step
        step = run.steps[name]
        assert not run.paused and run.status == "running"
        if not run.ends_as and run.tokens_max:
            assert run.tokens + self.life.usage[0] < run.tokens_max
        for need in run.graph.needs[name]:
            before = run.current[need]
            fine = before.status in ("completed", "skipped") or run.steps[need].on_failure == "continue"
            assert before.done and (fine or run.graph.below[name]), (name, need, before)
            for end, loop in run.graph.loops.items():
                if need in loop.body and name not in loop.body:
                    assert end in run.turned or run.ends_as, (name, need, end)
        if run.ends_as:
            assert run.graph.below[name].intersection(run.called)
        last = self.last.get(id)
        if step.snapshot or step.retry.workspace == "restore":
            assert id in self.archived
            has_worked = any(isinstance(one, StepStarted) and one.instance == id for one, _ in self.life.facts[:-1])
            if step.retry.workspace == "restore" and last is not None and last.next == "retry" and has_worked:
                assert self.returned.get(id, True)
        if last is not None and last.next == "retry" and last.outcome not in LINKS and last.agent:
            assert fact.agent == last.agent

    def status(self) -> None:
        """The status tells the truth."""
        run, life = self.life.run, self.life
        rows = list(steps_of(run, Surroundings(life.now, str, life.held)))
        shown = {row["id"]: row for row in rows}
        assert len(shown) == len(rows)
        assert set(run.instances) <= set(shown)
        for row in rows:
            if row["status"] == "waiting":
                self.waits(run, row)
            else:
                assert not row["waiting_for"]
                assert row["status"] in ENDED or (row["status"] == "running" and row["id"] in run.working)
        if run.ended:
            assert not [row for row in rows if row["status"] in ("waiting", "running")]

    def waits(self, run: Run, row: dict[str, Any]) -> None:
        why, step = row["waiting_for"], row["step"]
        assert why in WAITS, row
        match why:
            case "needs":
                assert row["needs"] or (step in run.graph.handlers and step not in run.called)
                assert all(need in run.graph.needs[step] for need in row["needs"])
            case "items":
                assert len(run.current[step].taken) == run.steps[step].max_parallel
            case "group":
                assert run.status == "queued"
            case "pause" | "budget":
                assert run.paused or self.life.held
            case "restore":
                assert row["id"] in run.wishes or row["id"] in run.broken
            case "approval":
                assert step in run.asking
            case "slot":
                assert not run.paused and not self.life.held and run.status != "queued"


@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(workflows(), st.data())
def test_a_fold_of_the_facts_is_the_live_run_at_every_position(workflow: Workflow, data: st.DataObject) -> None:
    life = Life(workflow, data)
    again = Run(life.start, life.now, workflow)
    done = 1
    while life.step() and len(life.facts) < 300:
        for fact, at in life.facts[done:]:
            again.apply(fact, at, "me")
        done = len(life.facts)
        assert state(again) == state(life.run)
    assert state(life.refolded()) == state(life.run)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(workflows(), st.data())
def test_a_fact_that_is_delivered_twice_changes_nothing(workflow: Workflow, data: st.DataObject) -> None:
    life = Life(workflow, data)
    while life.step() and len(life.facts) < 200:
        pass
    once, twice = (Run(life.start, 1_000, workflow) for _ in range(2))
    for fact, at in life.facts[1:]:
        once.apply(fact, at, "me")
        for _ in range(1 if isinstance(fact, ONCE) else 2):
            twice.apply(fact, at, "me")
        assert state(once) == state(twice), fact


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-1, 9))))
def test_timers_are_what_a_sorted_list_is(changes: list[tuple[str, int]]) -> None:
    timers, plain = Timers(), dict[str, int]()
    for key, at in changes:
        if at < 0:
            timers.drop(key)
            plain.pop(key, None)
        else:
            timers.set(key, at)
            plain[key] = at
        assert timers.first == (min(plain.values()) if plain else None)
        assert len(timers) == len(plain)
        for now in range(-1, 10):
            due = list(timers.due(now))
            assert sorted(due) == sorted(key for key, at in plain.items() if at <= now)
            assert [plain[key] for key in due] == sorted(plain[key] for key in due)
