"""Restores cut the line: which events hold, found from the links between events without reading the log."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.lineage import Cut, Line, cuts_of, find_cuts, ranges
from tests.projections.histories import commit, everything, grow, restore


def test_without_a_restore_all_events_hold() -> None:
    assert ranges([], 9) == [(1, 9)]
    assert all(Line([], 9).holds(seq) for seq in range(1, 10))


def test_a_restore_holds_what_it_went_back_to_and_what_follows() -> None:
    assert ranges([Cut(6, 3)], 9) == [(1, 3), (6, 9)]
    assert ranges([Cut(6, 3)], 5) == [(1, 5)]
    assert ranges([Cut(6, 0)], 9) == [(6, 9)]


def test_a_restore_behind_another_follows_the_line_as_it_was_there() -> None:
    cuts = [Cut(6, 3), Cut(10, 7)]
    assert ranges(cuts, 12) == [(1, 3), (6, 7), (10, 12)]
    assert ranges([Cut(6, 3), Cut(10, 5)], 12) == [(1, 5), (10, 12)]
    assert ranges([*cuts, Cut(14, 4)], 14) == [(1, 4), (14, 14)]


cuts = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=8, unique_by=lambda pair: pair[0]).map(
    lambda pairs: [Cut(at, to % at) for at, to in sorted(pairs)]
)


@given(cuts, st.integers(0, 70))
def test_the_line_is_what_playing_the_restores_one_after_the_other_leaves(found: list[Cut], end: int) -> None:
    lines: dict[int, list[int]] = {0: []}
    back = {cut.at: cut.to for cut in found}
    for seq in range(1, end + 1):
        lines[seq] = [*lines[back.get(seq, seq - 1)], seq]
    line = Line(found, end)
    assert [seq for seq in range(1, end + 1) if line.holds(seq)] == lines[end]
    assert [seq for first, last in line.ranges for seq in range(first, last + 1)] == lines[end]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_all_cuts_are_found_by_the_links_between_events(seed: int) -> None:
    store = MemoryStore("links")
    for _ in grow(store, Random(seed), 40, restores=True):
        pass
    assert find_cuts(store.log, store.log.head().floor) == cuts_of(everything(store))


def test_a_restore_is_found_wherever_it_stands_in_its_append(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    commit(store, NewEvent("restore:x", e.RestoreStarted("x", 1)))
    ends = [NewEvent(f"state:k{n}", e.StateSet(f"k{n}", "1")) for n in range(700)]
    first = restore(store, 1, *ends, name="x")
    commit(store, NewEvent("restore:x", e.RestoreStarted("x", first)))
    commit(store, NewEvent("restore:x", e.RestoreFailed("x", "disk full")))
    commit(store, *ends[:3], NewEvent("restore:x", e.RestoreDone("x", first)), *ends[3:5], floors=True)
    assert find_cuts(store.log, store.log.head().floor) == cuts_of(everything(store))
    assert [cut.to for cut in cuts_of(everything(store))] == [1, first]
