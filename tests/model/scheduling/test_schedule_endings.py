"""When a task ends, as what, and what that means for those that depend on it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from maestro.model import events as e
from maestro.model.outcome import SEVERITY, status_of, worst
from maestro.model.scheduling.schedule import decide, why_waiting
from tests.model.facts import World, agent, node, task


def finished(world: World) -> e.TaskFinished:
    """The one end that is decided now."""
    (fact,) = [fact for fact in world.decides() if isinstance(fact, e.TaskFinished)]
    return fact


def two_agents() -> World:
    world = World(node(), agent("a"), agent("b"), task("t", "a", "b"))
    world.decides()
    return world


def test_a_completed_task_leaves_its_result_in_the_state_in_the_same_append() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1", result="all is well")
    (decision,) = decide(world.plan, world.log.at)
    end, result = (event.fact for event in decision.events)
    assert end == e.TaskFinished("t", "completed", "ok", 0, "agent")
    assert result == e.StateSet("task:t:result", "all is well", 86_400_000)
    assert [event.expected for event in decision.events] == [3, None]


def test_the_result_of_several_agents_is_a_map() -> None:
    world = two_agents()
    world.runs("t-0.1", result="fine").runs("t-1.1", result=e.BlobRef("ab" * 32, 20_000))
    (result,) = [fact for fact in world.decides() if isinstance(fact, e.StateSet)]
    assert isinstance(result.value, str)
    assert json.loads(result.value) == {"a": "fine", "b": {"blob": "ab" * 32, "size": 20_000}}


def test_a_failed_task_leaves_no_result() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1", "exit")
    assert [type(fact) for fact in world.decides()] == [e.TaskFinished]


def test_a_task_ends_when_all_its_runs_have_and_the_worst_outcome_is_its_own() -> None:
    world = two_agents()
    world.runs("t-0.1", "exit", exit_code=3)
    assert world.decides() == []
    world.runs("t-1.1", "timeout", exit_code=None)
    assert finished(world) == e.TaskFinished("t", "failed", "exit", 3, "agent", "a: exit")


@pytest.mark.parametrize(
    ("codes", "exit_code", "source"),
    [((2, 3), 2, "agent"), ((0, 3), 3, "agent"), ((0, 0), 1, "maestro"), ((None, 0), 1, "maestro")],
)
def test_the_exit_code_is_the_first_that_is_not_zero(
    codes: tuple[int | None, int], exit_code: int, source: str
) -> None:
    world = two_agents()
    world.runs("t-0.1", "no_output", exit_code=codes[0]).runs("t-1.1", "no_output", exit_code=codes[1])
    end = finished(world)
    assert (end.exit_code, end.source) == (exit_code, source)


@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        (("timeout", None), ("ok", 0), ("timed_out", 124, "maestro")),
        (("timeout", 9), ("ok", 0), ("timed_out", 124, "maestro")),
        (("ok", 0), ("timeout", None), ("timed_out", 124, "maestro")),
        (("timeout", None), ("exit", 3), ("failed", 3, "agent")),
        (("cancelled", 7), ("ok", 0), ("cancelled", 1, "maestro")),
        (("lost", None), ("ok", 0), ("failed", 1, "maestro")),
        (("ok", 2), ("ok", 0), ("completed", 0, "agent")),
    ],
)
def test_a_task_ends_with_the_exit_code_of_the_command_that_waited_for_it(
    first: tuple[str, int | None], second: tuple[str, int | None], end: tuple[str, int, str]
) -> None:
    world = World(node(), agent("a"), agent("b"), task("t", "a", "b", on_lost="fail"))
    world.decides()
    for run, (outcome, code) in (("t-0.1", first), ("t-1.1", second)):
        world.runs(run, outcome, exit_code=code)
    found = finished(world)
    assert (found.status, found.exit_code, found.source) == end


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("ok", "completed"), ("cancelled", "cancelled"), ("timeout", "timed_out"), ("skipped", "skipped")],
)
def test_an_outcome_has_its_status(outcome: str, status: str) -> None:
    assert status_of(outcome) == status


def test_every_other_outcome_is_a_failure_and_unknown_ones_are_the_worst() -> None:
    others = set(SEVERITY) - {"ok", "cancelled", "timeout", "skipped"}
    assert {status_of(outcome) for outcome in others} == {"failed"}
    assert worst(["ok", "not yet invented", "parked"]) == "not yet invented"
    assert all(worst(pair) == pair[1] for pair in pairwise(SEVERITY))


# ---- cancel ----


def test_a_queued_task_that_is_cancelled_never_starts() -> None:
    world = World(node(slots=0), agent("a"), task("t"), e.TaskCancelRequested("t", "changed my mind"))
    assert finished(world) == e.TaskFinished("t", "cancelled", "cancelled", 1, "maestro", "changed my mind")
    world.happens(node())
    assert world.decides() == []


def test_a_released_run_that_is_cancelled_is_ended_with_its_task() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.happens(e.TaskCancelRequested("t", "no"))
    (decision,) = decide(world.plan, world.log.at)
    ended, end = (event.fact for event in decision.events)
    assert isinstance(ended, e.RunEnded)
    assert (ended.outcome, ended.source, ended.evidence) == ("cancelled", "maestro", "no")
    assert isinstance(end, e.TaskFinished)
    assert [event.expected for event in decision.events] == [4, 5]


def test_a_running_one_is_its_workers_to_end() -> None:
    world = two_agents()
    world.starts("t-0.1").happens(e.TaskCancelRequested("t", "no"))
    assert [type(fact) for fact in world.decides()] == [e.RunEnded]
    world.ends("t-0.1", "cancelled")
    assert finished(world).status == "cancelled"


def test_what_completed_before_the_cancel_was_seen_is_completed() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1").happens(e.TaskCancelRequested("t", "too late"))
    assert finished(world).status == "completed"


def test_a_retry_that_waits_for_its_time_is_cancelled_at_once() -> None:
    world = World(node(), agent("a"), task("t", retries=5))
    world.decides()
    world.runs("t-0.1", "exit", retry_at=world.log.at + 1_000_000).happens(e.TaskCancelRequested("t"))
    assert finished(world).status == "cancelled"


def test_a_task_that_is_cancelled_while_its_run_is_released_stops_it_before_it_starts() -> None:
    world = World(node(), agent("a"), task("t"))
    (decision,) = decide(world.plan, world.log.at)
    world.happens(e.TaskCancelRequested("t", "no"), *(event.fact for event in decision.events))
    assert [type(fact) for fact in world.decides()] == [e.RunEnded, e.TaskFinished]


# ---- dependencies ----


def test_a_task_waits_for_what_it_depends_on() -> None:
    world = World(node(), agent("a"), agent("b"), task("t"), task("u", "b", after=["t"]))
    assert world.releases() == [("t-0.1", "a")]
    assert why_waiting(world.plan, world.plan.tasks["u"], 0, world.log.at) == "task t"
    world.runs("t-0.1")
    assert world.releases() == [("u-0.1", "b")]


def test_one_pass_ends_a_task_and_releases_its_dependents() -> None:
    world = World(node(), agent("a"), task("t"), task("u", after=["t"]))
    world.decides()
    world.runs("t-0.1")
    assert [type(fact) for fact in world.decides()] == [e.TaskFinished, e.StateSet, e.RunReleased]


def test_it_waits_for_all_of_them() -> None:
    world = World(node(), agent("a"), agent("b"), task("t"), task("s", "b"), task("u", after=["t", "s"]))
    world.decides()
    world.runs("t-0.1")
    assert world.releases() == []
    world.runs("s-0.1")
    assert world.releases() == [("u-0.1", "a")]


@pytest.mark.parametrize(
    ("outcome", "status"), [("exit", "failed"), ("timeout", "timed_out"), ("cancelled", "cancelled")]
)
def test_a_dependency_that_did_not_complete_skips_the_task_with_the_cause(outcome: str, status: str) -> None:
    world = World(node(), agent("a"), task("t"), task("u", after=["t"]), task("v", after=["u"]))
    world.decides()
    world.runs("t-0.1", outcome)
    ends = [fact for fact in world.decides() if isinstance(fact, e.TaskFinished)]
    assert [(end.task, end.status) for end in ends] == [("t", status), ("u", "skipped"), ("v", "skipped")]
    assert (ends[1].exit_code, ends[1].source) == (1, "maestro")
    assert ends[1].reason == f"it depends on task t: {status}"
    assert ends[2].reason == "it depends on task u: skipped"
    assert [slot.outcome for slot in world.task("v").slots] == ["skipped"]


def test_a_dependency_that_ended_long_ago_is_looked_up() -> None:
    world = World(node(), agent("a"), task("t"), task("bad"))
    world.decides()
    world.runs("t-0.1").decides()
    world.runs("bad-0.1", "exit").decides()
    assert world.plan.tasks == {}
    world.happens(task("u", after=["t"]), task("v", after=["bad"]))
    facts = world.decides()
    assert [fact.task for fact in facts if isinstance(fact, e.RunReleased)] == ["u"]
    assert [fact.task for fact in facts if isinstance(fact, e.TaskFinished)] == ["v"]


def test_nothing_is_decided_before_the_plan_has_followed_what_it_was_supplied_with() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1").decides()
    plan = world.log.plan()
    world.other(plan, task("u", after=["t"]))
    plan.supply({"t": world.task("t")}, world.log.head + 1)
    assert decide(plan, world.log.at) == []
    world.other(plan, e.AgentRestarted("a"))
    assert len(decide(plan, world.log.at)) == 1


def test_rows_older_than_what_is_asked_for_are_left() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1").decides()
    before = world.log.head
    row = world.task("t")
    plan = world.log.plan()
    world.other(plan, e.TaskRetried("t"))
    plan.supply({"t": row}, before)
    assert list(plan.missing) == ["t"]
    world.log.supply(plan)
    assert list(plan.tasks) == ["t"]


def test_a_dependency_that_is_retried_is_waited_for_again() -> None:
    world = World(node(), agent("a"), agent("b"), task("t"))
    world.decides()
    world.runs("t-0.1").decides()
    world.happens(e.AgentStopped("b"), task("u", "b", after=["t"]))
    world.decides()
    world.happens(e.TaskRetried("t"), e.AgentRestarted("b"))
    assert world.releases() == [("t-0.2", "a")]
    world.runs("t-0.2")
    assert world.releases() == [("u-0.1", "b")]


def test_a_retried_task_is_as_old_as_its_retry() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1", "exit").decides()
    world.log.at += 100_000_000
    world.happens(node(slots=0), task("urgent", priority=1), e.TaskRetried("t"), node(slots=1))
    assert world.releases() == [("urgent-0.1", "a")]
