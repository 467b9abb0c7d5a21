"""The timeline shows every view at every position as the fold of the log from its start does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from maestro.model.events import Event
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import VIEWS, encode
from replayers.timeline import past_views
from replayers.timeline.past_views import Cursor, Past
from replayers.timeline.timeline import Timeline
from tests.projections.histories import everything, fresh, grow
from tests.projections.test_bounds import write

POSITIONS = 100


def histories() -> Iterator[Store]:
    """Logs with all kinds of events, with restores, and with rows that views lose."""
    for seed in range(2):
        store = MemoryStore(f"mixed{seed}")
        for _ in grow(store, Random(seed), 150, restores=True):
            pass
        yield store
        store = MemoryStore(f"bounded{seed}")
        for _ in write(store, seed, 200):
            pass
        yield store


def assert_same(past: Past, events: list[Event]) -> None:
    """Every view is, byte for byte, what a fold of the log from its start has at the position."""
    fold = fresh(events[: past.position])
    for view in VIEWS:
        wanted = {row_id: encode(row) for row_id, row in sorted(fold.rows_of(view).items())}
        found = past.encoded(view)
        assert list(found.items()) == list(wanted.items()), (past.position, view)
        assert past.count(view) == len(wanted), (past.position, view)


def test_every_view_at_a_hundred_positions_is_what_the_log_says(tmp_path: Path) -> None:
    for number, store in enumerate(histories()):
        timeline, random = Timeline.open(store, tmp_path), Random(number)
        timeline.catch_up()
        head, events = store.log.head().seq, everything(store)
        for position in (*random.sample(range(head + 1), POSITIONS // 4 - 2), 0, head):
            assert_same(timeline.at(position), events)


def pages(past: Past, view: str, oldest: bool = False) -> list[str]:
    """The ids of all rows, page by page."""
    found: list[str] = []
    cursor: Cursor | None = Cursor(-1, "") if oldest else None
    while True:
        page = past.page(view, after=cursor, limit=3) if oldest else past.page(view, before=cursor, limit=3)
        found += [row_id for row_id, _ in page.rows]
        if page.further is None:
            return found
        cursor = page.further


@pytest.mark.parametrize("few", (0, 1000))
def test_pages_hold_each_row_once_and_in_order(tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_views, "FEW", few)
    store = MemoryStore("paged")
    for _ in write(store, 5, 120):
        pass
    timeline, head = Timeline.open(store, tmp_path), store.log.head().seq
    for position in range(head % 5, head + 1, head // 12):
        past = timeline.at(position)
        for view in VIEWS:
            found = pages(past, view)
            rows = past.rows(view)
            assert sorted(found) == list(rows), (position, view)
            if view == "queue":
                assert found == sorted(rows, key=lambda row_id: (rows[row_id].order_key(), row_id))
            elif view == "tasks":
                assert found == sorted(rows, key=lambda row_id: -rows[row_id].position)
            if view != "queue":
                assert pages(past, view, oldest=True) == found[::-1]
            assert [past.row(view, row_id) for row_id in rows] == list(rows.values())
        assert past.row("queue", "no such") is None
        done = past.page("tasks", limit=99, parts=("status:completed",)).rows
        assert {row_id for row_id, _ in done} == {
            row_id for row_id, row in past.rows("tasks").items() if row.status == "completed" and not row.workflow
        }
        assert len(done) == past.counts("tasks").get("status:completed", 0)
