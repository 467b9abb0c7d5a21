"""A restore cuts the line of the log and ends what was open, each run once."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from maestro.model import events as e
from maestro.model.restore import (
    OpenWork,
    PlaceFate,
    Stopped,
    broken_off,
    decide_agents,
    decide_going_on,
    decide_restore_end,
    line,
    stop_reason,
)
from tests.model.facts import World, agent, node, task
from tests.model.history import Log


def positions(restores: list[tuple[int, int]], end: int) -> list[int]:
    """The line, position by position."""
    return [position for part in line(restores, end) for position in part]


def by_definition(restores: dict[int, int], end: int) -> list[int]:
    """What holds at `end`: what held before it and itself; at a restore, what held at its `to` and itself."""
    if end == 0:
        return []
    return [*by_definition(restores, restores.get(end, end - 1)), end]


def test_without_a_restore_the_line_is_the_log() -> None:
    assert line([], 5) == [range(1, 6)]
    assert line([], 0) == []


def test_a_restore_cuts_out_what_it_undid() -> None:
    assert positions([(7, 3)], 9) == [1, 2, 3, 7, 8, 9]
    assert positions([(7, 3)], 6) == [1, 2, 3, 4, 5, 6]


def test_a_restore_before_the_position_restored_to_cuts_again() -> None:
    assert positions([(5, 2), (9, 6)], 10) == [1, 2, 5, 6, 9, 10]


def test_a_restore_that_was_undone_never_happened() -> None:
    assert positions([(5, 2), (9, 4)], 10) == [1, 2, 3, 4, 9, 10]


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 39)), st.integers(0, 40))
def test_the_line_is_what_the_definition_says(drawn: dict[int, int], end: int) -> None:
    restores = {seq: to % seq for seq, to in drawn.items()}
    assert positions(sorted(restores.items()), end) == by_definition(restores, end)


def restored(world: World, to: int) -> list[e.AnyFact]:
    """Restore; what the append says."""
    open_now = [row for row in world.log.fold().tasks.values() if row.open]
    open_then = [row for row in world.log.fold(to).tasks.values() if row.open]
    events = decide_restore_end(e.RestoreDone("r", to), OpenWork(open_now), OpenWork(open_then), world.log.floor)
    assert world.log.append(events, floors=True)
    world.plan = world.log.plan()
    return [event.fact for event in events]


def shape(facts: list[e.AnyFact]) -> list[tuple[str, str]]:
    """Kinds and ids."""
    return [(type(fact).__name__, getattr(fact, "run", None) or getattr(fact, "task", "")) for fact in facts]


def test_what_was_open_at_neither_is_untouched_and_the_views_are_those_of_then() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1").decides()
    to = world.log.head
    before = world.log.fold()
    world.happens(e.AgentStopped("a"))
    assert shape(restored(world, to)) == [("RestoreDone", "")]
    after = world.log.fold()
    assert (after.tasks, after.agents) == (before.tasks, before.agents)


def test_what_was_open_at_both_is_ended_once_on_the_line() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    to = world.log.head
    world.starts("t-0.1")
    assert shape(restored(world, to)) == [("RestoreDone", ""), ("RunEnded", "t-0.1"), ("TaskFinished", "t")]
    row = world.task("t")
    assert (row.status, row.reason) == ("cancelled", "restored")
    assert world.agent("a").run == ""


def test_what_is_open_now_only_is_ended_off_the_line() -> None:
    world = World(node(), agent("a"))
    to = world.log.head
    world.happens(task("t"))
    world.decides()
    facts = restored(world, to)
    assert shape(facts) == [("RunEnded", "t-0.1"), ("TaskFinished", "t"), ("RestoreDone", "")]
    assert world.log.fold().tasks == {}


def test_what_was_open_then_and_has_ended_since_is_ended_again_on_the_line() -> None:
    world = World(node(), agent("a"), task("t"), task("u", after=["t"]))
    world.decides()
    to = world.log.head
    world.runs("t-0.1").decides()
    assert shape(restored(world, to)) == [
        ("RunEnded", "u-0.1"),
        ("RestoreDone", ""),
        ("RunEnded", "t-0.1"),
        ("TaskFinished", "t"),
        ("TaskFinished", "u"),
    ]
    assert {row.status for row in world.log.fold().tasks.values()} == {"cancelled"}


def test_it_conflicts_where_an_open_run_moves_meanwhile() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    open_now = [world.task("t")]
    events = decide_restore_end(e.RestoreDone("r", 2), OpenWork(open_now), OpenWork([]))
    world.starts("t-0.1")
    assert world.log.append(events, floors=True) is None


def test_nothing_from_before_writes_after_it() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1")
    version = world.log.version("run:t-0.1")
    restored(world, 2)
    late = e.NewEvent("run:t-0.1", e.RunEnded("t-0.1", "t", "a", "ok"), version)
    assert world.log.append([late]) is None


def test_ids_of_undone_tasks_may_be_used_again_at_the_floor() -> None:
    world = World(node(), agent("a"))
    to = world.log.head
    world.happens(task("t"))
    world.decides()
    restored(world, to)
    world.happens(task("t"))
    assert world.releases() == [("t-0.1", "a")]


def test_restored_tasks_are_queued_again_by_a_retry() -> None:
    world = World(node(), agent("a"), task("t"))
    to = world.log.head
    world.decides()
    restored(world, to)
    world.happens(e.TaskRetried("t"))
    assert world.releases() == [("t-0.1", "a")]


def test_an_empty_log_restored_into_has_only_the_line_of_the_restore() -> None:
    log = Log()
    assert log.append(decide_restore_end(e.RestoreDone("r", 0), OpenWork([]), OpenWork([])), floors=True)
    assert positions(log.restores, log.head) == [1]


@pytest.mark.parametrize(
    ("places", "is_done", "left"),
    [
        ({}, False, []),
        ({"/a": "old", "/b": "old"}, False, []),
        ({"/a": "old", "/b": "lost"}, False, ["/b"]),
        ({"/a": "new", "/b": "new"}, True, []),
        ({"/a": "new", "/b": "lost", "/c": "old"}, True, ["/b", "/c"]),
    ],
)
def test_an_exchange_that_was_broken_off_counts_as_done_once_one_workspace_is_new(
    places: dict[str, PlaceFate], is_done: bool, left: list[str]
) -> None:
    assert broken_off(places) == (is_done, left)


def test_agents_that_come_back_elsewhere_stay_stopped_where_they_were() -> None:
    world = World(node(), agent("a"), agent("b"), e.AgentStopped("b", "by hand"))
    then = {name: world.agent(name) for name in ("a", "b")}
    events = decide_agents([agent("a"), agent("b")], then, {"c": "its workspace is lost"})
    assert [event.fact for event in events] == [
        agent("a"),
        agent("b"),
        e.AgentStopped("b", "by hand"),
        e.AgentStopped("c", "its workspace is lost"),
    ]


def test_after_a_restore_an_agent_goes_on_unless_somebody_else_stopped_it() -> None:
    world = World(node(), agent("a"), e.AgentStopped("a", stop_reason("r1")))
    row, ours = world.agent("a"), stop_reason("r1")
    (event,) = decide_going_on(row, ours, Stopped("r1"), floor=99)
    assert (event.fact, event.expected) == (e.AgentRestarted("a"), 99)
    assert decide_going_on(row, "by hand", Stopped("r1")) == []
    assert decide_going_on(None, "", Stopped("r1")) == []
    assert decide_going_on(World(node(), agent("a")).agent("a"), "", Stopped("r1")) == []
    for why in ("restore r0: lost", ""):
        (event,) = decide_going_on(row, why, Stopped("r1", waited=True))
        assert event.fact == e.AgentRestarted("a")


def test_an_agent_whose_workspace_is_lost_stays_stopped_and_it_is_said_once_why() -> None:
    world = World(node(), agent("a"), e.AgentStopped("a", stop_reason("r1")))
    row = world.agent("a")
    (event,) = decide_going_on(row, stop_reason("r1"), Stopped("r1", left="it is lost"))
    assert (event.fact, event.expected) == (e.AgentStopped("a", "it is lost"), row.version)
    assert decide_going_on(row, "it is lost", Stopped("r1", waited=True, left="it is lost")) == []
