"""Folds the log into all views in memory, in one pass; the projector saves them, replayers compare and look back.

An event goes only to the views that its type concerns. Rows are changed in place, and encoded on demand to their
canonical form: JSON with sorted mappings, the same bytes on every machine for a fold version.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from maestro.model.errors import MaestroError
from maestro.model.events import FACTS, AnyFact, Event, Unrecognised
from projections import (
    agents,
    homes,
    nodes,
    queue,
    restores,
    settings,
    snapshots,
    state,
    tasks,
    workflow_runs,
    workflows,
)
from projections.bounding import bounds
from projections.bounding.bounds import BOUNDED, EndedRows
from projections.lineage import Line
from projections.monitoring import alerts, deliveries, firings, schedules, totals

Apply = Callable[[Event], None]


class View(Protocol):
    """The interface of a view's module. Rows are keyed by row id; each view has its own."""

    NAME: str
    VERSION: int
    FOLLOWS_LINE: bool

    def indexes(self, row: Any, /) -> dict[str, int]:
        """The indexes of a row: index name -> score."""

    def decode(self, row_id: str, data: bytes, /) -> Any:
        """Decode a row from its canonical JSON."""


class FoldedView(View, Protocol):
    """A view with a fold of its own. The queue has none: it is derived from the rows of `tasks`."""

    def folds(self, rows: dict[str, Any], /) -> Mapping[type[AnyFact], Apply]:
        """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def touches(self, event: Event, /) -> str:
        """The id of the row that an event of such a fact may change."""


FOLDED: tuple[FoldedView, ...] = (
    *(agents, homes, tasks, state, nodes, snapshots, restores, workflows, workflow_runs),
    *(alerts, deliveries, schedules, firings, totals, settings),
)
VIEWS: dict[str, View] = {
    view.NAME: view
    for view in (
        *(agents, homes, tasks, queue, state, nodes, snapshots, restores, workflows, workflow_runs),
        *(alerts, deliveries, schedules, firings, totals, settings),
    )
}

Routes = dict[type[AnyFact], tuple[Apply, ...]]

encode = msgspec.json.Encoder(order="deterministic").encode


class Stopped(MaestroError):
    """A fold met an event of a later build. It stays before `seq` and never passes it; `reason` says why."""

    code = "stopped"

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(reason, mend="update this node")
        self.seq = seq
        self.reason = reason


class Fold:
    """The rows of all views after the events folded so far.

    seq: position of the last folded event.
    line: the events that hold at the end of the fold.
    views: the views to fold, all by default.
    rows: view -> row id -> row; without the queue's, see `rows_of`. Rows belong to the fold and change with it.
    bounded: off where the owner, which has some rows only, cuts the views itself.
    evicted: view -> ids of the rows that went since the owner has cleared it.
    """

    def __init__(self, line: Line | None = None, views: Sequence[str] = tuple(VIEWS), bounded: bool = True) -> None:
        self.line = line or Line()
        self.views = views
        self.seq = 0
        folded = [view for view in FOLDED if view.NAME in self._needed(views)]
        self.rows: dict[str, dict[str, Any]] = {view.NAME: {} for view in folded}
        self.evicted: dict[str, list[str]] = defaultdict(list)
        cut = [BOUNDED[view.NAME] for view in folded if bounded and view.NAME in BOUNDED]
        self._ended = {view: EndedRows(view, self.rows[view.NAME]) for view in cut}
        self._all = self._routes(folded)
        self._off_line = self._routes([view for view in folded if not view.FOLLOWS_LINE])

    def apply(self, events: Sequence[Event]) -> None:
        """Fold the next events, in order. Raises Stopped before the first unknown one."""
        start = 0
        while start < len(events):
            end = self._next_cut(events, start)
            self._apply(events[start:end] if start or end < len(events) else events)
            if self._ended and bounds.is_step(self.seq):
                self._cut()
            start = end

    def _next_cut(self, events: Sequence[Event], start: int) -> int:
        """The index behind the next event, from `start` on, at which views are cut; the end where there is none."""
        if not self._ended:
            return len(events)
        first, last = events[start].seq, events[-1].seq
        step = bounds.next_step(first)
        if step >= last:
            return len(events)
        if last - first == len(events) - start - 1:
            return start + step - first + 1
        return next(index for index in range(start, len(events)) if events[index].seq >= step) + 1  # with gaps

    def _apply(self, events: Sequence[Event]) -> None:
        routes = self._all
        try:
            if events[0].seq < self.line.cut:
                self._apply_ranges(events)
            else:
                for event in events:
                    for apply in routes[event.fact.__class__]:
                        apply(event)
        except Stopped as stopped:
            self.seq = stopped.seq - 1
            raise
        self.seq = events[-1].seq

    def _cut(self) -> None:
        """Delete the rows that go at this position."""
        horizon = settings.sealed(self.rows[settings.NAME])
        if not horizon:
            return
        kept, holds = bounds.keep(self.rows[settings.NAME]), self.line.holds(self.seq)
        for view, ended in self._ended.items():
            if holds or not view.FOLLOWS_LINE:
                self.evicted[view.NAME] += ended.evict(kept, horizon)

    @staticmethod
    def _needed(views: Sequence[str]) -> set[str]:
        """The views to fold for these: the queue is derived from `tasks`, and `settings` says what is cut."""
        needed = {tasks.NAME if view == queue.NAME else view for view in views}
        return needed | {settings.NAME} if needed & BOUNDED.keys() else needed

    def _apply_ranges(self, events: Sequence[Event]) -> None:
        for event in events:
            routes = self._all if self.line.holds(event.seq) else self._off_line
            for apply in routes[event.fact.__class__]:
                apply(event)

    def _routes(self, views: Sequence[FoldedView]) -> Routes:
        folds = [view.folds(self.rows[view.NAME]) for view in views]
        folds += [ended.marks() for view, ended in self._ended.items() if view.NAME in {one.NAME for one in views}]
        routes: Routes = {fact: tuple(of[fact] for of in folds if fact in of) for fact in FACTS.values()}
        routes[Unrecognised] = (stop,)
        return routes

    def rows_of(self, view: str) -> dict[str, Any]:
        """The rows of one view, also for the queue."""
        if view == queue.NAME:
            return {row_id: row for row_id, row in self.rows[tasks.NAME].items() if queue.holds(row)}
        return self.rows[view]

    def digest(self, view: str) -> str:
        """The digest of one view."""
        rows = self.rows_of(view)
        return digest(((row_id, encode(row)) for row_id, row in rows.items()), indexes_of(view, rows))

    def digests(self) -> dict[str, str]:
        """The digests of the views that are folded."""
        return {view: self.digest(view) for view in self.views}


def stop(event: Event) -> None:
    """Raise Stopped for an event that this build does not know; every fold does that."""
    assert isinstance(event.fact, Unrecognised)
    raise Stopped(event.seq, reason(event.seq, event.fact))


def reason(seq: int, fact: Unrecognised) -> str:
    """Why a fold stops before an event, in words."""
    return f"event {seq} is {fact.name} version {fact.v}, which this build does not know"


def indexes_of(view: str, rows: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """All indexes of a view: name -> row id -> score."""
    found: dict[str, dict[str, int]] = {}
    for row_id, row in rows.items():
        for name, score in VIEWS[view].indexes(row).items():
            found.setdefault(name, {})[row_id] = score
    return found


def digest(rows: Iterable[tuple[str, bytes]], indexes: Mapping[str, Mapping[str, int]]) -> str:
    """SHA-256 in hex over the rows by id and the indexes by name and row id, each part preceded by its length."""
    parts: list[bytes] = []
    for row_id, data in sorted(rows):
        row = row_id.encode("utf-8", "surrogatepass")
        parts.append(b"%d:%b%d:%b" % (len(row), row, len(data), data))
    for name in sorted(indexes):
        scores, index = indexes[name], name.encode("utf-8", "surrogatepass")
        start = b"%d:%b" % (len(index), index)
        for row_id in sorted(scores):
            row, score = row_id.encode("utf-8", "surrogatepass"), b"%d" % scores[row_id]
            parts.append(b"%b%d:%b%d:%b" % (start, len(row), row, len(score), score))
    return hashlib.sha256(b"".join(parts)).hexdigest()
