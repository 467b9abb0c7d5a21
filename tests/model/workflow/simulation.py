"""The life of a run without a scheduler: dice carry out its decisions, among crashes, stops, pauses and odd clocks."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from maestro.model.events import Event
from maestro.model.facts.workflow import (
    StepApproved,
    StepReadied,
    StepStarted,
    WorkflowRunAdmitted,
    WorkflowRunEnding,
    WorkflowRunPaused,
    WorkflowRunResumed,
    WorkflowRunStarted,
    WorkspaceArchived,
    WorkspaceArchiveWanted,
    WorkspaceRestoreWanted,
    WorkspaceReturned,
)
from maestro.model.workflow.decide import Usage, Work, decide, due, unanswered
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End, ended, turned
from maestro.model.workflow.instances import instance_id
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import evolve

ONCE = (WorkflowRunResumed, WorkflowRunEnding)
"""Facts that a log has once only, as they are appended under the version of the run."""


class Life:
    """The life of one run: every decision carried out, with what the dice say."""

    def __init__(self, workflow: Workflow, data: st.DataObject) -> None:
        self.data = data
        self.workflow = workflow
        self.now = 1_000
        self.facts: list[tuple[Any, int]] = []
        self.group = "g" if self.dice(4) == 0 else ""
        self.start = WorkflowRunStarted("r", "w", 1, definition="", group=self.group)
        self.run = Run(self.start, self.now, workflow)
        self.facts.append((self.start, self.now))
        self.header = evolve(None, Event(1, "workflow-run:r", self.now, "me", "", 0, self.start))
        self.tasks = 0
        self.held = ""
        self.usage: Usage = (0, 0.0)
        self.odd = 12
        """How many odd things may still happen: every run ends once they have."""
        self.cancelled: set[str] = set()

    def tell(self, fact: Any) -> None:
        self.facts.append((fact, self.now))
        self.run.apply(fact, self.now, "me")
        self.header = evolve(self.header, Event(len(self.facts), "workflow-run:r", self.now, "me", "", 0, fact))
        assert self.header is not None
        if not self.run.ends_as:  # handlers alone may ask then, and the header does not know these
            assert self.header.asking.keys() == self.run.asking.keys()

    def dice(self, most: int) -> int:
        return self.data.draw(st.integers(0, most))

    def refolded(self, upto: int | None = None) -> Run:
        """The run as its facts alone make it."""
        run = Run(self.start, self.facts[0][1], self.workflow)
        for fact, at in self.facts[1:upto]:
            run.apply(fact, at, "me")
        return run

    def decided(self) -> list[Any]:
        busy = frozenset(Work("cancel", id) for id in self.cancelled)
        return decide(self.run, self.now, busy, self.usage, self.held)

    def step(self) -> bool:
        """One move; False at the end."""
        run = self.run
        if run.ended:
            return False
        if self.odd and self.dice(9) == 0:
            self.odd -= 1
            self.odd_thing()
            return True
        moves = self.decided()
        if moves and not isinstance(moves[0], Work):
            assert len(moves) == 1
            self.tell(moves[0])
            return True
        busy = [*run.working, *run.wishes]
        if moves and (not busy or self.dice(2)):
            self.carry_out(moves[self.dice(len(moves) - 1)])
        elif busy:
            id = busy[self.dice(len(busy) - 1)]
            self.end(id) if id in run.working else self.answer(id)
        else:
            self.wait()
        return True

    def odd_thing(self) -> None:
        """What may happen at any time."""
        run = self.run
        match self.dice(7):
            case 0:
                self.run = self.refolded()  # everything was killed
                self.cancelled.clear()
            case 1:
                self.now += self.dice(300) * 1000
            case 2:
                self.now -= self.dice(30) * 1000
            case 3:
                self.held = ["", "pause", "budget"][self.dice(2)]
            case 4:
                self.usage = (self.dice(20), 0.0)
            case 5 if not run.ends_as and not run.paused:
                self.tell(WorkflowRunPaused("r"))
            case 6 if self.dice(4) == 0:
                self.tell(WorkflowRunEnding("r", "cancelled", "asked", stops=True))
            case 7 if run.wishes:
                self.tell(unanswered(run)[0])  # the node began anew, and is asked again

    def carry_out(self, work: Work) -> None:
        run = self.run
        instance = run.instances.get(work.subject)
        match work.kind:
            case "ready":
                self.ready(work.subject)
            case "turn":
                self.tell(turned(run, work.subject, self.dice(2) == 0))
            case "cancel":
                self.cancelled.add(work.subject)
            case "archive":
                assert instance is not None
                self.tell(WorkspaceArchiveWanted("r", instance.id, "n", "/w", self.agent(instance.id)))
            case "restore":
                assert instance is not None
                self.tell(WorkspaceRestoreWanted("r", instance.id, "n", "/w", instance.snapshot))
            case "start" if self.dice(9) == 0:
                assert instance is not None  # it cannot start
                outcome = ["template", "unhealthy", "refused"][self.dice(2)]
                self.tell(ended(run, instance, End("failed", outcome), self.now))
            case "start":
                assert instance is not None
                self.tasks += 1
                agent = self.agent(instance.id)
                self.tell(StepStarted("r", instance.id, instance.attempts + 1, f"t{self.tasks}", agent=agent))

    def agent(self, id: str) -> str:
        instance = self.run.instances[id]
        agents = self.run.steps[instance.step].agents or (".run",)
        return instance.agent or agents[instance.link]

    def ready(self, subject: str) -> None:
        step = self.run.steps[subject]
        fact = StepReadied("r", step.id, self.run.current[step.id].round)
        dice = self.dice(19)
        if dice == 0:
            fact = msgspec.structs.replace(fact, verdict="skip")
        elif dice == 1:
            fact = msgspec.structs.replace(fact, verdict="fail", why="bad")
        else:
            if step.for_each is not None:
                fact = msgspec.structs.replace(fact, items=list(step.for_each))
            if step.approval:
                limit = getattr(step.approval, "timeout", None)
                until = self.now + int(limit * 1000) if limit else 0
                fact = msgspec.structs.replace(fact, approval="?", until=until)
        self.tell(fact)

    def answer(self, id: str) -> None:
        """A node answers, perhaps twice."""
        wish = self.run.wishes[id]
        error = "no space" if self.dice(9) == 0 else ""
        fact: WorkspaceArchived | WorkspaceReturned = WorkspaceReturned("r", id, error=error)
        if isinstance(wish, WorkspaceArchiveWanted):
            fact = WorkspaceArchived("r", id, "" if error else f"a{len(self.facts)}", error)
        for _ in range(1 + (self.dice(5) == 0)):
            self.tell(fact)

    def end(self, id: str) -> None:
        """An attempt ends."""
        self.now += self.dice(3) * 1000
        outcomes = [*["completed"] * 6, "failed", "failed", "timed_out", "cancelled"]
        status = "cancelled" if id in self.cancelled else outcomes[self.dice(9)]
        self.cancelled.discard(id)
        outcome = "ok" if status == "completed" else ["exit", "spawn_error", "refused"][self.dice(2)]
        instance = self.run.instances[id]
        end = End(status, outcome, tokens=self.dice(5), agent=instance.agent, session=f"{instance.agent}-{id}")
        self.tell(ended(self.run, instance, end, self.now))

    def wait(self) -> None:
        """Nothing works and nothing can be done: a person answers, what holds it is over, or time passes."""
        run = self.run
        if self.held:
            self.held = ""
        elif run.status == "queued" and not run.ends_as:
            self.tell(WorkflowRunAdmitted("r"))
        elif run.paused:
            self.usage = (0, 0.0)
            self.tell(WorkflowRunResumed("r", add_tokens=run.tokens + 10))
        elif run.asking and self.dice(1):
            self.decide_asked(bool(self.dice(2)))
        elif until := due(run, self.now):
            self.now = max(self.now, until)
        else:
            assert run.asking, ("it hangs", self.describe())
            self.decide_asked(True)

    def decide_asked(self, approved: bool) -> None:
        step = next(iter(self.run.asking))
        self.tell(StepApproved("r", instance_id(step, self.run.current[step].round), approved))

    def describe(self) -> Any:
        run = self.run
        return {step: (one.status, one.round, one.needs) for step, one in run.current.items()}, run.status, run.ends_as
