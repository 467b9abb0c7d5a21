"""What a restore undoes, from which archives it brings workspaces back, and what goes on after it."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from maestro.model import events as e
from maestro.model.outcome import LOSSES_MAX
from maestro.model.restore import (
    Archived,
    Fate,
    OpenWork,
    Span,
    decide_lives,
    decide_restore_end,
    fates,
    line,
    mapped,
    missing,
    newest,
)
from maestro.model.state import StateKey
from tests.model.facts import World, agent, node, task


def spans(restores: list[tuple[int, int]], end: int) -> list[Span]:
    return [(part.start, part.stop - 1) for part in line(restores, end)]


def test_a_restore_undoes_what_came_after_the_position() -> None:
    assert missing(spans([], 9), spans([], 5)) == [(6, 9)]
    assert missing(spans([(7, 3)], 9), spans([(7, 3)], 2)) == [(3, 3), (7, 9)]


def test_undoing_a_restore_brings_back_what_that_undid() -> None:
    now, then = spans([(7, 3)], 9), spans([(7, 3)], 6)
    assert missing(now, then) == [(7, 9)]
    assert missing(then, now) == [(4, 6)]


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 39)), st.integers(0, 40), st.integers(0, 40))
def test_what_is_undone_is_on_the_one_line_and_not_on_the_other(drawn: dict[int, int], a: int, b: int) -> None:
    restores = sorted((seq, to % seq) for seq, to in drawn.items())
    one, other = spans(restores, a), spans(restores, b)

    def each(parts: list[Span]) -> set[int]:
        return {position for first, last in parts for position in range(first, last + 1)}

    assert each(missing(one, other)) == each(one) - each(other)


def test_paths_below_the_old_root_go_below_the_new_one_and_others_stay() -> None:
    assert mapped("/opt/ws/backend", "/opt/ws", "/srv/new/") == "/srv/new/backend"
    assert mapped("/opt/ws-other", "/opt/ws", "/srv/new") == "/opt/ws-other"
    assert mapped("/home/me/review", "/opt/ws", "/srv/new") == "/home/me/review"
    assert mapped("/opt/ws/a", "", "/srv/new") == "/opt/ws/a"


def archived(snapshot: str, position: int, agent: str = "a", workspace: str = "/w") -> Archived:
    return Archived(snapshot, e.SnapshotWorkspace(agent, workspace, f"workspaces/{agent}", position))


def test_a_workspace_comes_from_its_newest_archive_at_or_before_the_position() -> None:
    archives = [archived("s1", 10), archived("s2", 20), archived("s3", 30), archived("other", 19, "b")]
    assert newest("a", "/w", archives, 25, lambda _: True) == archives[1]
    assert newest("a", "/w", archives, 20, lambda _: True) == archives[1]
    assert newest("a", "/w", archives, 9, lambda _: True) is None
    assert newest("a", "/elsewhere", archives, 25, lambda _: True) is None


def test_an_archive_of_what_was_undone_before_is_of_another_line() -> None:
    archives = [archived("s1", 10), archived("s2", 20)]
    assert newest("a", "/w", archives, 40, lambda position: position != 20) == archives[0]


def test_each_agent_has_its_fate() -> None:
    world = World(node(), agent("stays"), agent("moves"), agent("goes"))
    now = world.log.fold().agents
    other = World(node(), agent("stays"), agent("moves", workspace="/other"), agent("returns"))
    other.happens(e.AgentStopped("returns"))
    assert fates(now, other.log.fold().agents) == [
        Fate("goes", "goes", True, False),
        Fate("moves", "moves", True, True),
        Fate("returns", "returns", False, False),
        Fate("stays", "stays", True, True),
    ]


def test_keys_get_the_time_to_live_that_they_had_left() -> None:
    keys = [StateKey("lasting", 1, "x", 0), StateKey("dead", 2, "x", 0, 900), StateKey("alive", 3, "v", 0, 5000)]
    (event,) = decide_lives(keys, 1000)
    assert (event.subject, event.fact) == ("state:alive", e.StateSet("alive", "v", 4000))


def resumed(world: World, to: int) -> World:
    now = [row for row in world.log.fold().tasks.values() if row.open]
    then = [row for row in world.log.fold(to).tasks.values() if row.open]
    events = decide_restore_end(e.RestoreDone("r", to), OpenWork(now), OpenWork(then), world.log.floor, resume=True)
    assert world.log.append(events, floors=True)
    world.plan = world.log.plan()
    return world


def test_what_was_queued_goes_on_where_it_is_resumed() -> None:
    world = World(node(), agent("a"), task("t"), task("u", after=["t"]))
    to = world.log.head
    world.decides()
    world.runs("t-0.1").decides()
    assert resumed(world, to).releases() == [("t-0.1", "a")]
    world.runs("t-0.1").decides()
    assert world.releases() == [] and world.task("u").status == "queued"
    assert world.slot("u").status == "released"


def test_what_ran_is_run_again_where_it_is_resumed() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1")
    to = world.log.head
    world.ends("t-0.1").decides()
    resumed(world, to)
    assert world.task("t").slots[0].runs[0].outcome == "lost"
    assert world.releases() == [("t-0.2", "a")]


def test_what_may_not_be_lost_is_run_again_where_it_is_resumed() -> None:
    world = World(node(), agent("a"), task("t", on_lost="fail"))
    world.decides()
    world.starts("t-0.1")
    resumed(world, world.log.head)
    assert world.releases() == [("t-0.2", "a")]


def test_what_is_resumed_again_and_again_is_never_parked() -> None:
    world = World(node(), agent("a"), task("t"))
    for attempt in range(1, LOSSES_MAX + 3):
        assert world.releases() == [(f"t-0.{attempt}", "a")]
        world.starts(f"t-0.{attempt}")
        resumed(world, world.log.head)
    assert world.slot("t").losses == 0


def test_what_was_to_be_cancelled_does_not_go_on() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1").happens(e.TaskCancelRequested("t", "no"))
    assert resumed(world, world.log.head).task("t").status == "cancelled"
