"""A node that holds still for a snapshot over several: nothing is released to it, and what waits for it says so."""

from __future__ import annotations

import msgspec

from maestro.model import events as e
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import decide, why_waiting
from maestro.model.snapshot import Snapshot
from tests.model.facts import World, agent, node, task

PARTS = (e.PartWanted("n", ("a",)), e.PartWanted("m", ("b",)))


def test_nothing_is_released_to_a_node_from_when_its_turn_has_come_until_its_part_is_over() -> None:
    world = World(node("n"), node("m"), agent("a", "n"), agent("b", "m"))
    world.happens(e.SnapshotAsked("s", "asked", "n", PARTS))
    world.happens(task("t", "a"))
    assert world.releases() == [("t-0.1", "a")], "it has yet to wait for its turn"
    world.runs("t-0.1")
    world.happens(e.SnapshotOpened("s", 9_000))
    world.happens(task("u", "a"), task("v", "b"))
    assert world.releases() == []
    assert why_waiting(world.plan, world.plan.tasks["u"], 0, world.log.at) == "node n holds still for snapshot s"
    world.happens(e.SnapshotPartReady("s", "n", "i"), e.SnapshotPartReady("s", "m", "i"))
    world.happens(e.SnapshotStarted("s", "asked", False, ("a", "b"), "n"))
    assert world.releases() == []
    world.happens(e.SnapshotPartTaken("s", "m"))
    assert world.releases() == [("v-0.1", "b")], "the node that has read all goes on"
    world.happens(e.SnapshotPartFailed("s", "n", "late"))
    assert world.releases() == [("u-0.1", "a")]
    world.happens(e.SnapshotFailed("s", "node n: late"))
    assert not world.plan.works.snapshots


def test_a_run_that_was_released_before_and_has_not_started_says_so_too() -> None:
    """It said that there is nothing to do, as its node starts it at once."""
    world = World(node("n"), agent("a", "n"), task("t", "a"))
    world.happens(*[fact for fact in world.decides() if isinstance(fact, e.RunReleased)])
    world.happens(e.SnapshotAsked("s", "asked", "n", PARTS[:1]), e.SnapshotOpened("s", 9_000))
    assert world.task("t").slots[0].status == "released"
    assert why_waiting(world.plan, world.plan.tasks["t"], 0, world.log.at) == "node n holds still for snapshot s"


def test_a_task_that_any_node_may_run_goes_to_one_that_does_not_hold_still() -> None:
    world = World(node("n"), node("m"), agent("a", None), task("t", "a"))
    world.happens(e.SnapshotAsked("s", "asked", "n", PARTS[:1]), e.SnapshotOpened("s", 9_000))
    assert world.releases() == [("t-0.1", "a")]
    world = World(node("n"), agent("a", None), task("t", "a"))
    world.happens(e.SnapshotAsked("s", "asked", "n", PARTS[:1]), e.SnapshotOpened("s", 9_000))
    assert world.releases() == []


def test_a_plan_that_is_loaded_knows_who_holds_still_but_for_what_lies_behind_a_restore() -> None:
    world = World(node("n"), agent("a", "n"), task("t", "a"))
    cut = e.SnapshotStarted("s", "asked", False, ("a",), "n")
    world.happens(e.SnapshotAsked("s", "asked", "n", PARTS[:1]), e.SnapshotOpened("s", 9_000))
    world.happens(e.SnapshotPartReady("s", "n", "i"), cut)
    plan = world.plan
    for floor, still in ((0, {"n": "s"}), (plan.seq + 1, {})):
        rows = msgspec.json.decode(msgspec.json.encode(list(plan.works.snapshots.values())), type=list[Snapshot])
        loaded = Plan.load([], plan.agents.values(), plan.nodes.values(), plan.seq, floor, rows)
        assert loaded.crew.still == still
    assert decide(plan, world.log.at) == []
