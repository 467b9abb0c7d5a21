"""What is foreseen is what the scheduler would have decided."""

from __future__ import annotations

from copy import deepcopy

import pytest

from maestro.model import events as e
from maestro.model.foresight import after_end
from maestro.model.schedule import decide
from tests.model.facts import World, agent, node, task


def ended(run: str, outcome: str = "ok", **fields: object) -> e.RunEnded:
    """An end of a run of agent `a` or `b`."""
    who = "b" if "-1." in run else "a"
    return e.RunEnded(
        run, "t", who, outcome, 0 if outcome == "ok" else 1, evidence="as seen", result="all well", **fields
    )  # type: ignore[arg-type]


def one(**fields: object) -> World:
    """A task for agent `a` whose run has started."""
    world = World(node(), agent("a"), task("t", **fields))
    world.decides()
    return world.starts("t-0.1")


def two() -> World:
    """A task for two agents whose runs have started."""
    world = World(node(), agent("a"), agent("b"), task("t", "a", "b"))
    world.decides()
    return world.starts("t-0.1").starts("t-1.1")


WORLDS = {
    "one run": (one, "t-0.1", "ok"),
    "one that failed": (one, "t-0.1", "exit"),
    "one that timed out": (one, "t-0.1", "timeout"),
    "one that is tried again": (lambda: one(retries=1), "t-0.1", "exit"),
    "one that was lost": (one, "t-0.1", "lost"),
    "one that may not be lost": (lambda: one(on_lost="fail"), "t-0.1", "lost"),
    "one that was cancelled": (lambda: one().happens(e.TaskCancelRequested("t", "enough")), "t-0.1", "cancelled"),
    "one whose pool has nobody left": (lambda: _pool(), "t-0.1", "spawn_error"),
    "the first of two": (two, "t-0.1", "ok"),
    "the last of two": (lambda: two().ends("t-0.1"), "t-1.1", "ok"),
    "the last of two, of which one failed": (lambda: two().ends("t-0.1", "exit"), "t-1.1", "ok"),
    "one after another task": (lambda: _after(), "t-0.1", "ok"),
}


def _pool() -> World:
    world = World(node(), agent("a"), task("t", "type:code"))
    world.decides()
    return world.starts("t-0.1")


def _after() -> World:
    world = World(node(), agent("a"), task("first"), task("t", after=["first"]))
    world.decides()
    world.starts("first-0.1").ends("first-0.1")
    world.decides()
    world.decides()
    return world.starts("t-0.1")


@pytest.mark.parametrize("name", WORLDS)
def test_what_follows_the_end_of_a_run_is_what_the_scheduler_decides_next(name: str) -> None:
    make, run, outcome = WORLDS[name]
    world, fact = make(), ended(run, outcome)
    before = deepcopy(world.plan.tasks)
    foreseen = after_end(world.plan, fact)
    assert world.plan.tasks == before, "foresight changes nothing"
    world.happens(fact)
    decided = [event for found in decide(world.plan, world.log.at) for event in found.events]
    ends = [event for event in decided if not isinstance(event.fact, (e.RunReleased, e.RunParked))]
    assert foreseen == (ends if not any(isinstance(event.fact, e.RunParked) for event in decided) else [])


def test_a_task_that_is_not_open_here_is_left_alone() -> None:
    assert after_end(World(node()).plan, ended("t-0.1")) == []


def test_the_foreseen_end_stands_under_the_version_of_the_task() -> None:
    world = one()
    (end, result) = after_end(world.plan, ended("t-0.1"))
    assert (end.subject, end.expected) == ("task:t", 3)
    assert (result.subject, result.expected) == ("state:task:t:result", None)
    world.happens(e.TaskCancelRequested("t"))
    (end,) = (event for event in after_end(world.plan, ended("t-0.1")) if isinstance(event.fact, e.TaskFinished))
    assert end.expected == world.log.head
