"""Records the rows of all views at waypoints: as `replay at` shows them there, only what changed since the last one.

A waypoint is each position at which views are cut (a multiple of 1000), each restore, and the position before it. So
between a position and the waypoint before it there is neither: to get there, events are folded, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from maestro.model.events import Event, RestoreDone, Unrecognised
from maestro.store.contract import Checkpoint, Page, PageQuery
from projections import queue
from projections.bounding import bounds
from projections.bounding.bounds import BOUNDED
from projections.bounding.eviction import evict
from projections.fold import FOLDED, VIEWS
from projections.lineage import Line
from projections.row_cache import CUT_BY, Key, RowCache
from replayers.timeline.row_versions import Kind, RowVersions, kind_of

ROWS_MAX = 2**62
"""A waypoint may change any number of rows."""

Restored = Callable[[int], dict[tuple[str, str], bytes]]
"""The rows of all views that follow the line, as they were at a position."""

FOLLOWING = tuple(view.NAME for view in FOLDED if view.FOLLOWS_LINE)


def parts(lists: Iterable[Sequence[Event]]) -> Iterator[Sequence[Event]]:
    """The events in parts, each of which ends at a waypoint; without those behind the last one, or an unknown event."""
    waiting: list[Event] = []
    for events in lists:
        for event in events:
            if event.fact.__class__ is Unrecognised:
                return
            if event.fact.__class__ is RestoreDone and waiting:
                yield waiting
                waiting = []
            waiting.append(event)
            if bounds.is_step(event.seq) or event.fact.__class__ is RestoreDone:
                yield waiting
                waiting = []


class Loaded(RowCache):
    """A row cache over the rows at one waypoint. kinds: of each row that was there."""

    def __init__(self) -> None:
        super().__init__(Line())
        self.kinds: dict[Key, Kind] = {}

    def fold_on(self, versions: RowVersions, at: int, events: Sequence[Event], also: Sequence[Key] = ()) -> list[Key]:
        """Fold events that follow the waypoint `at`; returns the keys of the rows that they touched."""
        _, touched = self.fitting(events, ROWS_MAX)
        missing = self.missing([*also, *touched], events)
        rows = [versions.row(view, row_id, at) for view, row_id in missing]
        self.take(missing, rows)
        for view, row_id in missing:
            row = self.fold.rows[view].get(row_id)
            if row is not None:
                self.kinds[view, row_id] = kind_of(view, row)
        self.fold.apply(events)
        return touched


class Recorder:
    """Records one waypoint after the other; belongs to one transaction after the other of one process.

    seq: the last waypoint.
    """

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self._cache = Loaded()

    def record(self, versions: RowVersions, events: Sequence[Event], restored: Restored) -> list[tuple[str, bytes]]:
        """Record the waypoint at the last of these events, which `parts` gave; returns the rows that it wrote."""
        at, last = self.seq, events[-1]
        written: list[tuple[str, bytes]] = []
        if isinstance(events[0].fact, RestoreDone):
            self._go_back(versions, restored(events[0].fact.to), last.seq)
            at = last.seq
        is_cut = bounds.is_step(last.seq)
        touched = self._cache.fold_on(versions, at, events, CUT_BY if is_cut else ())
        if is_cut and self._cache.horizon():
            touched += evict(_Rows(versions, at), "", Checkpoint(), self._cache, (touched, last.seq))
        for change in self._cache.changes(dict.fromkeys(touched)):
            if change.view == queue.NAME:
                continue
            if change.data is None:
                versions.remove(change.view, change.row, last.seq)
            else:
                row = self._cache.fold.rows[change.view][change.row]
                versions.put(change.view, change.row, row, change.data, last.seq)
                written.append((change.view, change.data))
        self._cache.trim()
        self._cache.kinds.clear()
        self.seq = last.seq
        return written

    def _go_back(self, versions: RowVersions, wanted: dict[tuple[str, str], bytes], at: int) -> None:
        """Bring all views that follow the line to what they were, as a restore does."""
        self._cache = Loaded()
        for view in FOLLOWING:
            numbers = versions.kinds(view).values()
            held = {
                version.id: version.data
                for number in numbers
                for version in map(versions.version, versions.all(number, at))
            }
            for row_id in held.keys() - {row_id for name, row_id in wanted if name == view}:
                versions.remove(view, row_id, at)
            for (name, row_id), data in wanted.items():
                if name == view and held.get(row_id) != data:
                    versions.put(view, row_id, VIEWS[view].decode(row_id, data), data, at)


class _Rows:
    """The rows of the last waypoint, as the eviction asks for them."""

    def __init__(self, versions: RowVersions, at: int) -> None:
        self._versions = versions
        self._at = at

    def page(self, _generation: str, query: PageQuery) -> Page:
        """The rows of a view that ended first, and how many have."""
        assert query.index == BOUNDED[query.view].ENDED
        kinds = self._versions.kinds(query.view)
        total = sum(self._versions.count(number, self._at) for kind, number in kinds.items() if kind.ended)
        rows = []
        if query.limit and query.max_score is not None:
            rows = self._versions.oldest_ended(query.view, query.limit, query.max_score)
        return Page([(row.id, row.data) for row in rows], Checkpoint(), total)
