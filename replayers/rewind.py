"""Rewind: any view as it was at a position, and the changes between two positions.

Both come from the log alone: the fold goes from its start over the line that leads to the position, so that a restore
in between cuts exactly what it cut then. Where there is a timeline of the log, it is asked for the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from maestro.model.errors import Invalid
from maestro.model.state import StateKey
from maestro.store.contract import Store
from projections import queue, state
from projections.fold import VIEWS, Fold, encode
from projections.lineage import Line, find_cuts
from replayers.log_reader import history
from replayers.positions import time_of


class Rewound(msgspec.Struct, frozen=True):
    """A view as it was. at: the server time of that moment, ms; rows: by row id, as JSON-ready data."""

    view: str
    position: int
    at: int
    rows: dict[str, Any]


class Looked(Protocol):
    """All views at a position, as a timeline has them."""

    def encoded(self, view: str, /) -> Mapping[str, bytes]:
        """All rows of a view as canonical JSON, in the order of their ids."""


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
    """Continue a fold to a later position of the same line."""
    for events in history(store, fold.seq, position):
        fold.apply(events)


def at(
    store: Store, position: int, view: str, when: int | None = None, look: Callable[[int], Looked] | None = None
) -> Rewound:
    """A view at a position, without keys of the state that had expired by then.

    when: the server time in ms at which expiry is judged; that of the position's event if None. look: of a timeline.
    """
    if view not in VIEWS:
        raise Invalid(f"there is no view {view!r}", mend=f"the views are {', '.join(VIEWS)}")
    rows = look(position).encoded(view) if look else _encoded(folded(store, position, [view]), view)
    if when is None:
        when = time_of(store.log, position)
    decode, may_expire = VIEWS[view].decode, view == state.NAME
    living = (row_id for row_id in sorted(rows) if not may_expire or lives(decode(row_id, rows[row_id]), when))
    return Rewound(view, position, when, {row_id: msgspec.json.decode(rows[row_id]) for row_id in living})


def diff(store: Store, a: int, b: int, look: Callable[[int], Looked] | None = None) -> Iterator[Change]:
    """The changes that lead from position a to b, by view and row. Without the queue, which is the open part of
    `tasks`. look: of a timeline.
    """
    views = [view for view in VIEWS if view != queue.NAME]
    if look:
        old, new = look(a), look(b)
        for view in views:
            yield from _changes(view, old.encoded(view), new.encoded(view))
        return
    fold = folded(store, a, views)
    before = {view: _encoded(fold, view) for view in views}
    cut = any(a < found.at <= b for found in find_cuts(store.log, store.log.head().floor))
    if a <= b and not cut:
        go_on(store, fold, b)
    else:
        fold = folded(store, b, views)
    for view in views:
        yield from _changes(view, before[view], _encoded(fold, view))


def _encoded(fold: Fold, view: str) -> dict[str, bytes]:
    return {row_id: encode(row) for row_id, row in fold.rows_of(view).items()}


def _changes(view: str, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[Change]:
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
    """Whether a row of any view is visible at time `now`: a key of the state that has expired is not."""
    return not (isinstance(row, StateKey) and row.expired(now))
