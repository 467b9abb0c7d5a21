"""Snapshots over several nodes: what the leader decides, whatever happens to nodes, leaders, askers and messages."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st

from maestro.model import events as e
from maestro.model.coordination.snapshot_parts import READY_MS, decide_snapshots, due_snapshots
from maestro.model.coordination.turn import Work, is_over, may_begin
from maestro.model.coordination.world import World
from maestro.model.events import Event
from maestro.model.snapshot import Snapshot, evolve, unfinished
from tests.model.coordination.nodes_together import NODES, Together


@settings(max_examples=250)
@given(st.integers(0, 2**32))
def test_whatever_happens_each_is_complete_as_of_one_cut_or_failed_and_nothing_is_held(seed: int) -> None:
    random = Random(seed)
    game = Together()
    game.ask(NODES, random.random() < 0.5)
    for _ in range(random.randrange(90)):
        random.choice(game.steps())()
    game.settle()
    assert not game.works.works and not game.works.still
    assert {row.state for row in game.rows.values()} <= {"complete", "failed"}
    assert not [held for name in game.up for held in game.held[name].values() if held.still and not held.over]
    assert all(row.why for row in game.rows.values() if row.state == "failed")
    for node in NODES:
        if node not in game.up or game.nodes[node].status != "up":
            game.start(node)
    game.ask(NODES, False)
    game.settle()
    assert game.rows[f"s{len(game.asked)}"].state == "complete", "the next one works"


def test_where_nothing_goes_wrong_it_is_complete_with_a_part_of_each_node() -> None:
    game = Together()
    game.ask(NODES, False)
    game.settle()
    row = game.rows["s1"]
    assert row.complete and row.nodes == NODES and row.across is None
    assert [held.node for held in row.workspaces] == list(NODES)
    cut = next(event.seq for event in game.log if isinstance(event.fact, e.SnapshotStarted))
    assert row.position == cut
    kinds = {
        kind: {event.seq for event in game.log if isinstance(event.fact, kind)}
        for kind in (e.SnapshotPartReady, e.SnapshotPartTaken)
    }
    assert min(kinds[e.SnapshotPartReady]) < cut < min(kinds[e.SnapshotPartTaken])


def row_of(*facts: e.AnyFact) -> Snapshot:
    row = None
    for seq, fact in enumerate(facts, 1):
        row = evolve(row, Event(seq, "snapshot:s", seq, "", "", 0, fact))
    assert row is not None
    return row


ASKED = e.SnapshotAsked("s", "asked", "north", (e.PartWanted("north", ("a",)), e.PartWanted("south", ("b",))))
OPENED = e.SnapshotOpened("s", 2 + READY_MS)
READY = (e.SnapshotPartReady("s", "north", "n1"), e.SnapshotPartReady("s", "south", "s1"))


def decided(row: Snapshot, now: int = 10, floor: int = 0, **others: object) -> e.AnyFact | None:
    game = Together()
    nodes = {name: game.nodes[name] for name in ("north", "south")}
    nodes["north"].incarnation, nodes["south"].incarnation = "n1", "s1"
    work = Work(1, "snapshot", "s", row.state != "asked", row.across.restore if row.across else "")
    world = World(now=now, floor=floor, nodes=nodes | others, snapshots=[row], works=[work])  # type: ignore[operator]
    moves = decide_snapshots(world)
    return moves[0].events[0].fact if moves else None


def test_it_waits_for_all_to_be_ready_until_its_deadline_and_then_names_who_was_not() -> None:
    row = row_of(ASKED, OPENED, READY[0])
    assert decided(row) is None
    assert due_snapshots(World(now=1, snapshots=[row])) == OPENED.deadline_at + 1
    late = decided(row, OPENED.deadline_at + 1)
    assert isinstance(late, e.SnapshotPartFailed) and late.node == "south" and "15 s" in late.reason
    failed = decided(row_of(ASKED, OPENED, READY[0], late))
    assert isinstance(failed, e.SnapshotFailed) and failed.reason.startswith("node south: ")
    assert isinstance(decided(row_of(ASKED, OPENED, *READY)), e.SnapshotStarted)


def test_no_cut_is_made_behind_the_deadline_as_nodes_may_have_let_go() -> None:
    fact = decided(row_of(ASKED, OPENED, *READY), OPENED.deadline_at + 1)
    assert isinstance(fact, e.SnapshotFailed) and "in time" in fact.reason


def test_a_node_that_has_another_daemon_since_it_was_ready_has_no_part() -> None:
    cut = e.SnapshotStarted("s", "asked", False, ("a", "b"), "north")
    for facts in ((ASKED, OPENED, *READY), (ASKED, OPENED, *READY, cut)):
        other = e.SnapshotPartReady("s", "south", "an earlier one")
        fact = decided(row_of(*(other if each == READY[1] else each for each in facts)))
        assert isinstance(fact, e.SnapshotPartFailed) and fact.node == "south"


def test_a_part_that_fails_is_left_out_only_where_that_is_allowed_and_named() -> None:
    allowed = e.SnapshotAsked("s", "asked", "north", ASKED.parts, allow_missing=True)
    failed = e.SnapshotPartFailed("s", "south", "no room")
    cut = e.SnapshotStarted("s", "asked", False, ("a", "b"), "north")
    held = (e.SnapshotWorkspace("a", "/w/a", "workspaces/a", 6),)
    taken = e.SnapshotPartTaken("s", "north", "ab", held, 5, 5)
    assert isinstance(decided(row_of(ASKED, OPENED, *READY, cut, failed)), e.SnapshotFailed)
    end = decided(row_of(allowed, OPENED, *READY, cut, failed, taken))
    assert isinstance(end, e.SnapshotTaken) and [part.node for part in end.parts] == ["north"]
    assert [(each.agent, each.why) for each in end.missing] == [("b", "is on node south, where no room")]
    nobody = decided(row_of(allowed, OPENED, *READY, e.SnapshotPartFailed("s", "north", "x"), failed))
    assert isinstance(nobody, e.SnapshotFailed) and "north" in nobody.reason and "south" in nobody.reason


def test_what_a_loaded_log_says_is_on_is_left_to_who_loaded_it_and_keeps_nobody_waiting() -> None:
    cut = e.SnapshotStarted("s", "asked", False, ("a", "b"), "north")
    row = row_of(ASKED, OPENED, *READY, cut)
    assert decided(row, floor=row.position + 1, south=None) is None
    assert unfinished([row], "north", ["north"], floor=row.position + 1) == [row]
    assert unfinished([row], "north", ["north"], floor=0) == []


def test_one_at_a_time_in_the_order_of_the_wishes_and_a_restore_has_its_own_snapshot() -> None:
    first, second = Work(1, "snapshot", "a"), Work(2, "restore", "r")
    assert may_begin(first, [first, second]) and not may_begin(second, [first, second])
    on = Work(2, "restore", "r", begun=True)
    step, other = Work(5, "snapshot", "w", within="r"), Work(4, "snapshot", "b")
    assert may_begin(step, [on, step, other]) and not may_begin(other, [on, step, other])
    assert not may_begin(step, [second, step]) and not may_begin(on, [on])
    assert is_over("r", [step, other]) and not is_over("r", [step, on])


def test_a_snapshot_of_a_restore_that_is_over_fails() -> None:
    of_restore = e.SnapshotAsked("s", "restore", "north", ASKED.parts, restore="r")
    fact = decided(row_of(of_restore))
    assert isinstance(fact, e.SnapshotFailed) and "restore r" in fact.reason
