"""The projector's row cache: rows loaded or just written, changed in place, and their index entries in the store.

All of it belongs to one checkpoint of one generation. The owner discards it when the checkpoint turns out to be another
one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from maestro.model.events import FACTS, AnyFact, Event, TaskDispatched
from maestro.model.settings.namespace_setting import KEEP
from maestro.store.contract import RowChange
from projections import queue, settings, tasks
from projections.bounding import bounds
from projections.fold import FOLDED, VIEWS, Fold, FoldedView, encode
from projections.lineage import Line

KEPT_MAX = 20_000
"""With more rows than this the cache is cleared after a pass."""

_NONE: Mapping[str, int] = MappingProxyType({})
"""The index entries of a row that is not in the store."""

Key = tuple[str, str]

CUT_BY: tuple[Key, ...] = ((settings.NAME, f"setting:{KEEP}"), (settings.NAME, settings.SEALED))
"""The rows that say what of the bounded views is cut."""

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
    ids = _ids(_routed(events, line))
    if tasks.NAME in ids:
        ids[queue.NAME] = ids[tasks.NAME]
    return {(view, row_id) for view, of in ids.items() for row_id in of}


def _routed(events: Iterable[Event], line: Line) -> list[tuple[Touches, Iterable[Event]]]:
    """The events by what they may touch: those on the line, and those off it."""
    if not line.cut:
        return [(_all, events)]
    on: list[Event] = []
    off: list[Event] = []
    for event in events:
        (on if line.holds(event.seq) else off).append(event)
    return [(_all, on), (_off_line, off)]


def _ids(routed: Iterable[tuple[Touches, Iterable[Event]]]) -> dict[str, set[str]]:
    """View -> ids of the rows that the events may change, without the queue's.

    The events are sorted by type first, so that each function is looked up once a type instead of once an event.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for routes, events in routed:
        by_type: dict[type[AnyFact], list[Event]] = defaultdict(list)
        for event in events:
            by_type[event.fact.__class__].append(event)
        for fact, some in by_type.items():
            for view, touches in routes.get(fact, ()):
                found[view].update(map(touches, some))
    return found


class RowCache:
    """A fold over some rows only, with the index entries that the store holds for them.

    stored: (view, row id) -> index entries, none for a row that is not in the store.
    """

    def __init__(self, line: Line) -> None:
        self.fold = Fold(line, bounded=False)
        self.stored: dict[Key, Mapping[str, int]] = {}

    def fitting(self, events: Sequence[Event], rows_max: int) -> tuple[int, list[Key]]:
        """How many of the events (at least one) change at most rows_max rows, and the rows that they touch.

        A row of `tasks` may change its row in the queue, which counts but need not be loaded. They end where views are
        cut at the latest.
        """
        count = len(events)
        if count:
            count = min(count, bounds.next_step(events[0].seq) - events[0].seq + 1)
        while True:
            ids = _ids(_routed(events[:count], self.fold.line))
            if sum(map(len, ids.values())) + len(ids.get(tasks.NAME, ())) <= rows_max or count <= 1:
                return count, [(view, row_id) for view, of in ids.items() for row_id in of]
            count //= 2

    def missing(self, keys: Iterable[Key], events: Iterable[Event]) -> list[Key]:
        """The rows that must be loaded before these events, which touch them, are folded.

        A task whose dispatch is the first event of its subject ever has no row yet.
        """
        stored, holds = self.stored, self.fold.line.holds
        for event in events:
            if event.prev == 0 and event.fact.__class__ is TaskDispatched and holds(event.seq):
                stored.setdefault((tasks.NAME, event.fact.task), _NONE)
        return [key for key in keys if key not in stored]

    def take(self, keys: Iterable[Key], rows: Iterable[bytes | None]) -> None:
        """Add rows as loaded from the store, None for a missing one."""
        for (view, row_id), data in zip(keys, rows, strict=True):
            if data is None:
                self.stored[view, row_id] = _NONE
                continue
            row = VIEWS[view].decode(row_id, data)
            self.fold.rows[view][row_id] = row
            self.stored[view, row_id] = VIEWS[view].indexes(row)
            if view == tasks.NAME and queue.holds(row):
                self.stored[queue.NAME, row_id] = queue.indexes(row)

    def changes(self, touched: Iterable[Key]) -> list[RowChange]:
        """The changes to save after the fold changed these rows; from here on they count as stored."""
        changes: list[RowChange] = []
        for key in touched:
            view, row_id = key
            row = self.fold.rows[view].get(row_id)
            data = None if row is None else encode(row)
            self._change(changes, key, row, data)
            if view == tasks.NAME:
                if row is not None and not queue.holds(row):
                    row = data = None
                self._change(changes, (queue.NAME, row_id), row, data)
        return changes

    def _change(self, changes: list[RowChange], key: Key, row: Any, data: bytes | None) -> None:
        view, row_id = key
        before = self.stored.get(key)
        if row is None:
            if before:
                changes.append(RowChange(view, row_id, None, _NONE, list(before)))
                self.stored[key] = _NONE
            return
        now = VIEWS[view].indexes(row)
        if before:
            add = {name: score for name, score in now.items() if before.get(name) != score}
            changes.append(RowChange(view, row_id, data, add, [name for name in before if name not in now]))
        else:
            changes.append(RowChange(view, row_id, data, now, ()))
        self.stored[key] = now

    def knows_none(self, keys: Iterable[Key]) -> None:
        """Know that the store has none of these rows yet."""
        for key in keys:
            self.stored.setdefault(key, _NONE)

    def horizon(self) -> int:
        """The position up to which the log is sealed, where the rows of `CUT_BY` are here."""
        return settings.sealed(self.fold.rows[settings.NAME])

    def trim(self) -> None:
        """Clear the cache when it holds more than KEPT_MAX rows, but for the settings, which are few."""
        if len(self.stored) > KEPT_MAX:
            self.stored = {key: held for key, held in self.stored.items() if key[0] == settings.NAME}
            for view, rows in self.fold.rows.items():
                if view != settings.NAME:
                    rows.clear()
