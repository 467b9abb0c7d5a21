"""All views at one position: the rows of the waypoint before it, and those that the events since then changed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import msgspec

from maestro.model.errors import Invalid
from projections import queue, restores, snapshots, state, tasks, workflow_runs
from projections.fold import VIEWS, encode
from replayers.timeline.row_versions import Kind, RowVersions, Version, kind_of, name_of, rank_of, score_of

FEW = 2_000
"""So many rows of a kind are all taken and sorted; of more, a page is read in the order of their scores."""
LOOKED_MAX = 20_000
"""Rows that are looked at for one page, at most."""
LIMIT = 50

BY_POSITION = frozenset({tasks.NAME, workflow_runs.NAME, snapshots.NAME, restores.NAME, state.NAME})
"""The views whose scores are positions: at a waypoint none is greater than that."""

Reading = Callable[[], AbstractContextManager[RowVersions]]
Changed = Mapping[str, Mapping[str, Any]]
Where = Callable[[Any], bool]
Entry = tuple[tuple[int, str], Callable[[], bytes]]


class Cursor(NamedTuple):
    """A place between the rows of a page: behind the row of this score and id."""

    score: int
    id: str


class _Order(NamedTuple):
    """The order of a page, and the place where it begins."""

    cursor: Cursor | None
    newest: bool
    of_queue: bool

    def place(self, raw: Sequence[Any]) -> tuple[int, bytes]:
        """The place of a row as the timeline has it."""
        return raw[2] if self.of_queue else raw[0], raw[1]

    def behind(self, entry: Entry) -> bool:
        """Whether a row is behind the cursor."""
        cursor = self.cursor
        return cursor is None or (entry[0] < cursor if self.newest else entry[0] > cursor)


class Wanted(NamedTuple):
    """The rows that are wanted. where, parts: as of `Past.page`; likely: which may be, by their JSON.

    skip: so many of them are passed over first; where all are wanted, without being read.
    """

    where: Where | None = None
    parts: Sequence[str] = ()
    skip: int = 0
    likely: Callable[[bytes], bool] | None = None


class Slice(msgspec.Struct, frozen=True):
    """The rows of a page, each with its id. further: where the next page goes on; None where there is no other."""

    rows: list[tuple[str, Any]]
    further: Cursor | None


class Past:
    """All views at a position. Thread-safe. Rows are those of the fold: they must not be changed.

    waypoint: the position whose rows the timeline has. at: the time of the position's event in ms.
    changed: view -> id -> row, None for one that is no more: what the events behind the waypoint changed.
    before: by the same keys, the kind of each row at the waypoint, where there was one.
    """

    def __init__(
        self, position: int, at: int, waypoint: int, reading: Reading, known: tuple[Changed, Mapping[Any, Kind]]
    ) -> None:
        self.position = position
        self.at = at
        self.waypoint = waypoint
        self._reading = reading
        self._changed, self._before = known

    def row(self, view: str, row_id: str) -> Any | None:
        """A row of a view, None where there is none."""
        _check(view)
        of = tasks.NAME if view == queue.NAME else view
        changed = self._changed.get(of, {})
        if row_id in changed:
            row = changed[row_id]
        else:
            with self._reading() as versions:
                data = versions.row(of, row_id, self.waypoint)
            row = None if data is None else VIEWS[of].decode(row_id, data)
        return row if view != queue.NAME or queue.holds(row) else None

    def rows(self, view: str) -> dict[str, Any]:
        """All rows of a view in the order of their ids."""
        return {row_id: VIEWS[view].decode(row_id, data) for row_id, data in self.encoded(view).items()}

    def encoded(self, view: str) -> dict[str, bytes]:
        """All rows of a view as canonical JSON, in the order of their ids."""
        found = {version.id: version.data for version in self.before(view)}
        for row_id, row in self._changed.get(tasks.NAME if view == queue.NAME else view, {}).items():
            if row is None or (view == queue.NAME and not queue.holds(row)):
                found.pop(row_id, None)
            else:
                found[row_id] = encode(row)
        return {row_id: found[row_id] for row_id in sorted(found)}

    def counts(self, view: str) -> dict[str, int]:
        """How many rows a view has, by part, such as `status:failed` (of `queue`: `status:queued`)."""
        found: dict[str, int] = {}
        with self._reading() as versions:
            for kind, number in self._kinds(versions, view, ()).items():
                found[kind.part] = versions.count(number, self.waypoint)
        of = tasks.NAME if view == queue.NAME else view
        for row_id, row in self._changed.get(of, {}).items():
            was = self._before.get((of, row_id))
            now = None if row is None else kind_of(of, row)
            for one, more in ((was, -1), (now, 1)):
                if one is not None and not (view == queue.NAME and one.ended):
                    found[one.part] = found.get(one.part, 0) + more
        return {part: count for part, count in sorted(found.items()) if count}

    def count(self, view: str) -> int:
        """How many rows a view has."""
        return sum(self.counts(view).values())

    def page(
        self,
        view: str,
        *,
        before: Cursor | None = None,
        after: Cursor | None = None,
        limit: int = LIMIT,
        where: Where | None = None,
        parts: Sequence[str] = (),
    ) -> Slice:
        """A page of a view, newest rows first; with `after` the oldest behind it first. The queue: in its order.

        before, after: where the last page ended (`further`). where: which rows are wanted; of 20,000 that are not, the
        page ends early. parts: only rows of these (`counts`), all where empty.
        """
        return self.chosen(view, Wanted(where, parts), limit=limit, before=before, after=after)

    def chosen(
        self,
        view: str,
        wanted: Wanted,
        *,
        limit: int = LIMIT,
        before: Cursor | None = None,
        after: Cursor | None = None,
    ) -> Slice:
        """As `page`, of the rows that are wanted."""
        _check(view)
        where, parts, skip, likely = wanted
        order = _Order(before or after, after is None and view != queue.NAME, view == queue.NAME)
        found, last = list[tuple[str, Any]](), None
        with self._reading() as versions:
            kinds = self._kinds(versions, view, parts)
            sources = [self._source(versions, kind, number, order) for kind, number in kinds.items()]
            sources.append(self._fresh(view, parts, order))
            merged = heapq.merge(*sources, key=lambda entry: entry[0], reverse=order.newest)
            entries: Iterator[Entry] = filter(order.behind, merged)
            if where is None and likely is None:
                entries, skip = itertools.islice(entries, skip, None), 0
            for looked, (place, data) in enumerate(entries):
                if len(found) >= limit or looked >= LOOKED_MAX:
                    return Slice(found, last)
                last, told = Cursor(*place), data()
                if likely is not None and not likely(told):
                    continue
                row = VIEWS[view].decode(place[1], told)
                if where is not None and not where(row):
                    continue
                if skip:
                    skip -= 1
                else:
                    found.append((place[1], row))
        return Slice(found, None)

    def named(
        self, view: str, prefix: str = "", limit: int = LIMIT, skip: int = 0, where: Where | None = None
    ) -> Slice:
        """Rows whose ids begin with a prefix, in the order of their ids; not of the queue. skip: as of `page`.

        `further` only tells that there are more.
        """
        _check(view)
        found: list[tuple[str, Any]] = []
        changed = self._changed.get(view, {})
        fresh = sorted(
            (row_id.encode("utf-8", "surrogatepass"), row_id) for row_id in changed if row_id.startswith(prefix)
        )
        with self._reading() as versions:
            held = versions.by_name(view, prefix, self.waypoint) if self.waypoint else iter(())
            still = ((raw[1], name_of(raw[1])) for raw in held)
            for _, group in itertools.groupby(heapq.merge(still, fresh), key=lambda entry: entry[1]):
                row_id = next(group)[1]
                row = changed.get(row_id)
                if row_id not in changed:
                    data = versions.row(view, row_id, self.waypoint)
                    row = None if data is None else VIEWS[view].decode(row_id, data)
                if row is None or (where is not None and not where(row)):
                    continue
                if skip:
                    skip -= 1
                    continue
                if len(found) >= limit:
                    return Slice(found, Cursor(0, row_id))
                found.append((row_id, row))
        return Slice(found, None)

    def changed(self, view: str) -> Mapping[str, Any]:
        """The rows that the events behind the waypoint changed, None for one that is no more; not of the queue."""
        _check(view)
        return self._changed.get(view, {})

    def before(self, view: str) -> list[Version]:
        """All rows of a view at the waypoint, in no order."""
        with self._reading() as versions:
            numbers = self._kinds(versions, view, ()).values()
            return [version for number in numbers for version in versions.whole(number, self.waypoint)]

    def _kinds(self, versions: RowVersions, view: str, parts: Sequence[str]) -> dict[Kind, int]:
        _check(view)
        kinds = versions.kinds(tasks.NAME if view == queue.NAME else view) if self.waypoint else {}
        return {
            kind: number
            for kind, number in kinds.items()
            if (not parts or kind.part in parts) and not (view == queue.NAME and kind.ended)
        }

    def _source(self, versions: RowVersions, kind: Kind, number: int, order: _Order) -> Iterator[Entry]:
        """The rows of a kind at the waypoint, in order, without those that changed since."""
        changed = self._changed.get(kind.view, {})
        rows: Iterator[Any]
        if order.of_queue or versions.count(number, self.waypoint) <= FEW:
            rows = iter(sorted(versions.all(number, self.waypoint), key=order.place, reverse=order.newest))
        else:
            bound = None if order.cursor is None else order.cursor.score
            if order.newest and kind.view in BY_POSITION:
                bound = self.waypoint if bound is None else min(bound, self.waypoint)
            rows = versions.by_score(number, self.waypoint, bound, order.newest)
        for raw in rows:
            if (row_id := name_of(raw[1])) not in changed:
                yield (raw[2] if order.of_queue else raw[0], row_id), partial(versions.data, raw)

    def _fresh(self, view: str, parts: Sequence[str], order: _Order) -> Iterator[Entry]:
        """The rows that changed since the waypoint, in order."""
        of = tasks.NAME if order.of_queue else view
        found: list[Entry] = []
        for row_id, row in self._changed.get(of, {}).items():
            kind = None if row is None else kind_of(of, row)
            if kind is not None and (not parts or kind.part in parts) and not (order.of_queue and kind.ended):
                place = rank_of(of, row) if order.of_queue else score_of(of, row)
                found.append(((place, row_id), partial(encode, row)))
        return iter(sorted(found, key=lambda entry: entry[0], reverse=order.newest))


def _check(view: str) -> None:
    if view not in VIEWS:
        raise Invalid(f"there is no view {view!r}", mend=f"the views are {', '.join(VIEWS)}")
