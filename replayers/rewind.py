"""Looking back: any view as it was at a position, and what changed between two.

The log alone says it: the fold goes from the start over the line that leads to that position, so that a restore
inside it cuts exactly what it cut then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from maestro.model.errors import Invalid
from maestro.model.state import StateKey
from maestro.store.contract import Store
from projections import queue
from projections.fold import VIEWS, Fold, encode
from projections.lineage import Line, find_cuts
from replayers.log_reader import history
from replayers.positions import time_of


class Rewound(msgspec.Struct, frozen=True):
    """A view as it was. at: the server time that was looked back to, ms; rows: by row id, as JSON-ready data."""

    view: str
    position: int
    at: int
    rows: dict[str, Any]


class Change(msgspec.Struct, frozen=True):
    """A row that differs. kind: added, removed or changed; before, after: the fields that differ."""

    view: str
    row: str
    kind: str
    before: dict[str, Any]
    after: dict[str, Any]


def folded(store: Store, position: int, views: Sequence[str] = tuple(VIEWS)) -> Fold:
    """The fold of the log up to a position. Raises Invalid behind the end, Stopped at an event of a later build."""
    head = store.log.head()
    if not 0 <= position <= head.seq:
        raise Invalid(f"there is no position {position}", mend=f"the log goes from 1 to {head.seq}")
    fold = Fold(Line(find_cuts(store.log, head.floor), position), views)
    go_on(store, fold, position)
    return fold


def go_on(store: Store, fold: Fold, position: int) -> None:
    """Fold on to a later position of the same line."""
    for events in history(store, fold.seq, position):
        fold.apply(events)


def at(store: Store, position: int, view: str, when: int | None = None) -> Rewound:
    """A view at a position; keys of the state that had outlived their time by then are left out.

    when: the server time, ms, that is looked back to; that of the position's event if None.
    """
    if view not in VIEWS:
        raise Invalid(f"there is no view {view!r}", mend=f"the views are {', '.join(VIEWS)}")
    rows = folded(store, position, [view]).rows_of(view)
    if when is None:
        when = time_of(store.log, position)
    return Rewound(
        view, position, when, {row_id: plain(rows[row_id]) for row_id in sorted(rows) if lives(rows[row_id], when)}
    )


def diff(store: Store, a: int, b: int) -> Iterator[Change]:
    """What has to change to come from position a to b, by view and row. The queue is left out: it is open `tasks`."""
    views = [view for view in VIEWS if view != queue.NAME]
    fold = folded(store, a, views)
    before = {view: {row_id: encode(row) for row_id, row in fold.rows_of(view).items()} for view in views}
    cut = any(a < found.at <= b for found in find_cuts(store.log, store.log.head().floor))
    if a <= b and not cut:
        go_on(store, fold, b)
    else:
        fold = folded(store, b, views)
    for view in views:
        after = {row_id: encode(row) for row_id, row in fold.rows_of(view).items()}
        yield from _changes(view, before[view], after)


def _changes(view: str, before: dict[str, bytes], after: dict[str, bytes]) -> Iterator[Change]:
    for row_id in sorted(before.keys() | after.keys()):
        old, new = before.get(row_id), after.get(row_id)
        if old == new:
            continue
        was: dict[str, Any] = msgspec.json.decode(old) if old else {}
        now: dict[str, Any] = msgspec.json.decode(new) if new else {}
        kind = "added" if old is None else "removed" if new is None else "changed"
        fields = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
        yield Change(view, row_id, kind, _only(was, fields), _only(now, fields))


def _only(row: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in fields}


def plain(row: Any) -> Any:
    """A row as JSON-ready data, in its canonical form."""
    return msgspec.json.decode(encode(row))


def lives(row: Any, now: int) -> bool:
    """Whether a row of any view is to be seen at `now`."""
    return not (isinstance(row, StateKey) and row.expired(now))
