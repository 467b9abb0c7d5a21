"""The projector's row cache: rows loaded or just written, changed in place, and their index entries in the store.

All of it belongs to one checkpoint of one generation. The owner discards it when the checkpoint turns out to be another
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from maestro.model.events import FACTS, AnyFact, Event
from maestro.store.contract import RowChange
from projections import queue, tasks
from projections.fold import FOLDED, VIEWS, Fold, FoldedView, encode
from projections.lineage import Line

KEPT_MAX = 20_000
"""With more rows than this the cache is cleared after a pass."""

ROWS_AN_EVENT = 3
"""One event changes at most a row of `tasks`, the same row in the queue and a row of `agents`."""

Key = tuple[str, str]
Touches = dict[type[AnyFact], tuple[tuple[str, Callable[[Event], str]], ...]]


def _touches(views: Iterable[FoldedView]) -> Touches:
    views = tuple(views)
    return {
        fact: tuple((view.NAME, view.touches) for view in views if fact in view.folds({})) for fact in FACTS.values()
    }


_all = _touches(FOLDED)
_off_line = _touches(view for view in FOLDED if not view.FOLLOWS_LINE)


def touched(events: Iterable[Event], line: Line) -> set[Key]:
    """The keys (view, row id) of the rows that these events may change, over all views."""
    found: set[Key] = set()
    for event in events:
        routes = _all if line.holds(event.seq) else _off_line
        for view, touches in routes.get(event.fact.__class__, ()):
            found.add((view, touches(event)))
            if view == tasks.NAME:
                found.add((queue.NAME, touches(event)))
    return found


class RowCache:
    """A fold over some rows only, with the index entries that the store holds for them.

    stored: (view, row id) -> index entries, {} for a row that is not in the store.
    """

    def __init__(self, line: Line) -> None:
        self.fold = Fold(line)
        self.stored: dict[Key, Mapping[str, int]] = {}

    def fitting(self, events: Sequence[Event], rows_max: int) -> tuple[int, list[Key]]:
        """How many of the events (at least one) change at most rows_max rows, and the rows that they touch.

        A row of `tasks` may change its row in the queue, which counts but need not be loaded.
        """
        touched: dict[Key, None] = {}
        line = self.fold.line
        twins = 0
        for count, event in enumerate(events):
            if len(touched) + twins > rows_max - ROWS_AN_EVENT and count:
                return count, list(touched)
            routes = _all if event.seq >= line.cut or line.holds(event.seq) else _off_line
            for view, touches in routes[event.fact.__class__]:
                key = (view, touches(event))
                if key not in touched:
                    touched[key] = None
                    twins += view == tasks.NAME
        return len(events), list(touched)

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        """The rows that must be loaded before an event that touches them is folded."""
        stored = self.stored
        return [key for key in keys if key not in stored]

    def take(self, keys: Iterable[Key], rows: Iterable[bytes | None]) -> None:
        """Add rows as loaded from the store, None for a missing one."""
        for (view, row_id), data in zip(keys, rows, strict=True):
            if data is None:
                self.stored[view, row_id] = {}
                continue
            row = VIEWS[view].decode(row_id, data)
            self.fold.rows[view][row_id] = row
            self.stored[view, row_id] = VIEWS[view].indexes(row)
            if view == tasks.NAME and queue.holds(row):
                self.stored[queue.NAME, row_id] = queue.indexes(row)

    def changes(self, touched: Iterable[Key]) -> list[RowChange]:
        """The changes to save after the fold changed these rows; from here on they count as stored."""
        changes: list[RowChange] = []
        for view, row_id in touched:
            row = self.fold.rows[view].get(row_id)
            data = None if row is None else encode(row)
            self._change(changes, (view, row_id), row, data)
            if view == tasks.NAME:
                held = queue.holds(row)
                self._change(changes, (queue.NAME, row_id), row if held else None, data if held else None)
        return changes

    def _change(self, changes: list[RowChange], key: Key, row: Any, data: bytes | None) -> None:
        view, row_id = key
        before = self.stored.get(key) or {}
        if row is None and not before:
            return
        now = {} if row is None else VIEWS[view].indexes(row)
        add = {name: score for name, score in now.items() if before.get(name) != score}
        changes.append(RowChange(view, row_id, data, add, [name for name in before if name not in now]))
        self.stored[key] = now

    def trim(self) -> None:
        """Clear the cache when it holds more than KEPT_MAX rows."""
        if len(self.stored) > KEPT_MAX:
            self.stored.clear()
            for rows in self.fold.rows.values():
                rows.clear()
