"""What is foreseen is what the scheduler would have decided."""

from __future__ import annotations

from copy import deepcopy

import pytest

from maestro.model import events as e
from maestro.model.scheduling.foresight import after_dispatch, after_end
from maestro.model.scheduling.schedule import decide
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


def _quiet(*given: e.AnyFact) -> World:
    """A world in which the scheduler has nothing to decide."""
    world = World(*given)
    while world.decides():
        pass
    return world


def _busy() -> World:
    world = _quiet(node(), agent("a"), task("other"))
    assert world.plan.agents["a"].run
    return world


QUIET = {
    "a free agent": lambda: _quiet(node(), agent("a")),
    "the freest of a pool": lambda: _quiet(node(), agent("a"), agent("b"), task("other", "a")).starts("other-0.1"),
    "an agent at work": _busy,
    "an agent that is stopped": lambda: _quiet(node(), agent("a"), e.AgentStopped("a")),
    "an agent in an occupied place": lambda: _quiet(
        node(), agent("a", workspace="/w"), agent("b", workspace="/w"), task("other", "b")
    ),
    "no room on the node": lambda: _quiet(node(slots=1), agent("a"), agent("b"), task("other", "b")),
    "a node that is held": lambda: _quiet(node(), agent("a"), e.NodeHeld("n", "shutdown")),
    "an agent of no node": lambda: _quiet(node(), agent("a", node=None)),
}


@pytest.mark.parametrize("target", ["a", "type:code"])
@pytest.mark.parametrize("name", QUIET)
def test_what_follows_a_dispatch_is_what_the_scheduler_decides_next(name: str, target: str) -> None:
    world, fact = QUIET[name](), task("t", target)
    while world.decides():
        pass
    decide(world.plan, world.log.at)
    foreseen = after_dispatch(world.plan, fact, world.log.at + 1)
    world.happens(fact)
    decided = decide(world.plan, world.log.at)
    assert [d.events for d in decided] == ([] if foreseen is None else [foreseen.events])
    assert [d.hints for d in decided] == ([] if foreseen is None else [foreseen.hints])


@pytest.mark.parametrize(
    "given",
    [
        [task("other", "b")],
        [task("t", "b")],
    ],
)
def test_nothing_is_foreseen_where_something_else_is_to_be_decided_first(given: list[e.AnyFact]) -> None:
    world = _quiet(node(), agent("a"), agent("b")).happens(*given)
    assert after_dispatch(world.plan, task("t"), world.log.at) is None


@pytest.mark.parametrize("fact", [task("t", "a", "b"), task("t", after=["first"])])
def test_nothing_is_foreseen_of_several_targets_or_of_what_must_wait(fact: e.TaskDispatched) -> None:
    world = _quiet(node(), agent("a"), agent("b"), task("first", "b")).starts("first-0.1")
    decide(world.plan, world.log.at)
    assert after_dispatch(world.plan, fact, world.log.at) is None


def test_foreseeing_leaves_the_plan_as_it_is_to_be() -> None:
    world = _quiet(node(), agent("a"))
    decide(world.plan, world.log.at)
    first = after_dispatch(world.plan, task("t"), world.log.at)
    assert decide(world.plan, world.log.at) == []
    assert first is not None and after_dispatch(world.plan, task("t"), world.log.at) == first
