"""`replay at|diff|rebuild` and the positions that they are given."""

from __future__ import annotations

from random import Random

import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import VIEWS
from projections.view_reader import Views
from replayers import positions, rewind
from replayers.rebuild import rebuild
from tests.projections.histories import commit, everything, fresh, grow, restore


def test_a_view_is_shown_as_it_was_at_any_position(store: Store) -> None:
    for _ in grow(store, Random(31), 30, restores=True):
        pass
    events = everything(store)
    for position in range(0, len(events) + 1, 3):
        expected = fresh(events[:position])
        for view in VIEWS:
            found = rewind.at(store, position, view)
            rows = expected.rows_of(view)
            now = events[position - 1].at if position else 0
            wanted = {row_id: rewind.plain(row) for row_id, row in rows.items() if rewind.lives(row, now)}
            assert (found.rows, found.position, found.at) == (wanted, position, now)


def test_a_key_that_had_outlived_its_time_then_is_not_shown(store: Store) -> None:
    commit(store, NewEvent("state:brief", e.StateSet("brief", "1", 1)), NewEvent("state:long", e.StateSet("long", "1")))
    while commit(store, NewEvent("node:n", e.NodeResumed("n"))).at <= everything(store)[0].at:
        pass
    assert set(rewind.at(store, 2, "state").rows) == {"brief", "long"}
    assert set(rewind.at(store, store.log.head().seq, "state").rows) == {"long"}


def test_a_key_lives_until_the_time_that_is_looked_back_to_and_not_the_last_event_before_it(store: Store) -> None:
    set_at = commit(store, NewEvent("state:brief", e.StateSet("brief", "1", 5))).at
    while store.now() <= set_at + 50:
        pass

    def seen(text: str) -> set[str]:
        position, when = positions.moment(store, text)
        assert position == 1
        return set(rewind.at(store, position, "state", when).rows)

    assert seen(positions.rfc3339(set_at + 4)) == {"brief"}
    assert seen(positions.rfc3339(set_at + 6)) == set()
    assert seen("0s") == seen("2038-01-01") == set()
    assert seen("1") == {"brief"}  # a position is the instant of its event


@pytest.mark.parametrize(("position", "view"), [(3, "state"), (-1, "state"), (1, "stat")])
def test_what_never_was_is_refused(position: int, view: str) -> None:
    store = MemoryStore("refused")
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    with pytest.raises(Invalid):
        rewind.at(store, position, view)


def test_a_difference_names_the_rows_and_fields_that_changed(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")), NewEvent("state:b", e.StateSet("b", "1")))
    commit(store, NewEvent("state:a", e.StateSet("a", "2")), NewEvent("state:b", e.StateDeleted("b")))
    commit(store, NewEvent("state:c", e.StateSet("c", "3")))
    a, b, c = rewind.diff(store, 2, 5)
    assert (a.view, a.row, a.kind) == ("state", "a", "changed")
    assert (a.before["value"], a.after["value"], a.before["version"], a.after["version"]) == ("1", "2", 1, 3)
    assert "key" not in a.after
    assert (b.row, b.kind, b.before["value"], b.after) == ("b", "removed", "1", {})
    assert (c.row, c.kind, c.before, c.after["value"]) == ("c", "added", {}, "3")
    assert not list(rewind.diff(store, 5, 5))
    back = [(one.row, one.kind) for one in rewind.diff(store, 5, 2)]
    assert back == [("a", "changed"), ("b", "added"), ("c", "removed")]


def test_a_difference_over_a_restore_is_what_holds_at_both_ends(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    commit(store, NewEvent("state:a", e.StateSet("a", "2")), NewEvent("state:b", e.StateSet("b", "2")))
    cut = restore(store, 1)
    found = [(one.view, one.row, one.kind) for one in rewind.diff(store, 3, cut)]
    counted = ("totals", "all", "added")  # that there was a restore: of all that ever was
    assert found == [("state", "a", "changed"), ("state", "b", "removed"), counted]
    assert [one.view for one in rewind.diff(store, 1, cut)] == ["totals"]


def test_a_rebuild_says_what_it_built(store: Store) -> None:
    for _ in grow(store, Random(4), 30, restores=True):
        pass
    views = Views(store)
    views.checkpoint()
    before = store.views.current()
    built = rebuild(store)
    assert built.generation == store.views.current() != before
    assert built.checkpoint.seq == store.log.head().seq
    assert built.digests == fresh(everything(store)).digests()
    assert list(rebuild(store, "tasks").digests) == ["tasks"]
    with pytest.raises(Invalid):
        rebuild(store, "task")


def test_a_position_is_a_number_a_time_or_a_time_ago(store: Store) -> None:
    ats = []
    for number in range(6):
        ats.append(commit(store, NewEvent("state:a", e.StateSet("a", str(number)))).at)
        while store.now() <= ats[-1]:
            pass
    assert ats == sorted(set(ats))
    for position, at in enumerate(ats, 1):
        assert positions.position_at(store.log, at) == position
        assert positions.position_at(store.log, at - 1) == position - 1
        assert positions.position(store, positions.rfc3339(at)) == position
        assert positions.since(store, positions.rfc3339(at)) == position
        assert positions.since(store, positions.rfc3339(at + 1)) == position + 1
    assert positions.position(store, "4") == positions.since(store, "4") == 4
    assert positions.position(store, "-1h") == 0
    assert [positions.since(store, ago) for ago in ("10m", "10m ago", "-10m", "1h30m", "0.5h")] == [1] * 5
    assert positions.position(store, "2030-01-01") == 6
    assert positions.position(store, "2030-01-01T00:00:00") == 6
    assert positions.position(store, "1999-12-31T23:59:59+01:00") == 0


def test_a_time_before_the_log_is_not_taken_for_position_0_where_a_view_is_asked_for(store: Store) -> None:
    at = commit(store, NewEvent("state:a", e.StateSet("a", "1"))).at
    for text in ("10d", positions.rfc3339(at - 1)):
        with pytest.raises(Invalid, match=f"^{text} is before the first event of the log, which is position 1, "):
            positions.reached(store, text)
    assert positions.reached(store, "0")[0] == 0
    assert positions.reached(store, positions.rfc3339(at)) == (1, at)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7", "1.5", "-5", "5 ago", "1e3", "10x", "-", "2026-13-01", "99999999999999999999w", "٣"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    store = MemoryStore("positions")
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    with pytest.raises(Invalid):
        positions.position(store, text)
