"""What an orderly restart of a daemon counts for: nothing, for its runs, and nothing is released to it meanwhile."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.node import decide_hold
from maestro.model.outcome import LOSSES_MAX, RESTART
from maestro.model.scheduling.lanes import failed_it
from tests.model.facts import World, agent, node, task


@pytest.mark.parametrize("on_lost", ["retry", "fail"])
def test_orderly_restarts_count_for_nothing_however_many(on_lost: str) -> None:
    world = World(node(), agent("a"), task("t", on_lost=on_lost))
    for attempt in range(1, 2 * LOSSES_MAX):
        assert world.releases() == [(f"t-0.{attempt}", "a")]
        world.starts(f"t-0.{attempt}").ends(f"t-0.{attempt}", "lost", restart=True)
    assert world.slot("t").losses == 0


def test_a_kill_between_orderly_restarts_counts() -> None:
    world = World(node(), agent("a"), task("t"))
    for attempt in range(1, LOSSES_MAX + 1):
        for restart, number in ((True, 2 * attempt - 1), (False, 2 * attempt)):
            assert world.releases() == [(f"t-0.{number}", "a")]
            world.starts(f"t-0.{number}").ends(f"t-0.{number}", "lost", restart=restart)
    assert world.releases() == [(f"t-0.{2 * LOSSES_MAX + 1}", "a")]
    world.runs(f"t-0.{2 * LOSSES_MAX + 1}", "lost")
    assert any(isinstance(fact, e.RunParked) for fact in world.decides())


def test_an_orderly_restart_speaks_against_no_agent_of_a_pool() -> None:
    world = World(node(), agent("a", role="r"), task("t", "role:r"))
    world.decides()
    world.starts("t-0.1").ends("t-0.1", "lost", restart=True)
    world.happens(agent("b", role="r"))
    assert failed_it(world.slot("t")) == set()


def test_a_task_that_was_to_be_cancelled_does_not_run_again_after_a_restart() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1").happens(e.TaskCancelRequested("t", "no")).ends("t-0.1", "lost", restart=True)
    assert world.releases() == []


def test_a_node_that_restarts_gets_nothing_until_its_next_daemon_joins() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1")
    (held,) = decide_hold(world.plan.nodes["n"], RESTART)
    world.happens(held.fact).ends("t-0.1", "lost", restart=True)
    assert world.releases() == []
    world.happens(e.NodeLeft("n", "stopped"))
    assert world.releases() == []
    assert world.happens(node()).releases() == [("t-0.2", "a")]


@pytest.mark.parametrize("end", [e.NodeLeft("n", "stopped"), e.NodeLost("n", "its lease ran out")])
def test_a_start_does_not_end_the_hold_of_a_shutdown(end: e.AnyFact) -> None:
    world = World(node(), agent("a"), e.NodeHeld("n", "shutdown"), task("t"))
    assert decide_hold(world.plan.nodes["n"], RESTART) == []
    assert world.happens(end, node()).releases() == []
    assert world.happens(e.NodeResumed("n", "up")).releases() == [("t-0.1", "a")]
