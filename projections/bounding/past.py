"""Rows that the bounded views have no more (`bounds.py`), folded again from sealed history when they are asked for.

The index beside the segments says at which positions a row's events are; the log has them. So the answer is that of
the log, and of the line that holds now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from maestro.model.events import Event
from maestro.store.contract import Checkpoint, Store
from maestro.store.cooperative import in_thread
from projections import settings
from projections.bounding.bounds import BOUNDED
from projections.fold import FOLDED
from projections.lineage import Line, find_cuts

INDEXED = frozenset(BOUNDED)
"""The views whose rows are found in sealed history."""
NEAR = 200
"""Events of a row that are no further apart are read together."""

_views = {view.NAME: view for view in FOLDED}


class Past:
    """The rows that a store's views have no more. May block for long where the index is to be made first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self, generation: str, known: Checkpoint, view: str, ids: Collection[str]) -> dict[str, Any]:
        """The rows of these ids that are in the view no more, by id; without those that are not on the log's line.

        known: the checkpoint at which they were not there.
        """
        sealed = self._store.log.sealed
        horizon = self.horizon(generation) if ids and sealed is not None and view in INDEXED else 0
        if sealed is None or not horizon:
            return {}

        def find() -> dict[str, Any]:
            found, log = {}, self._store.log
            positions = sealed.positions(log, view, ids, horizon)
            line = Line(find_cuts(log, known.floor) if positions and _views[view].FOLLOWS_LINE else ())
            for row_id, places in positions.items():
                row = self._folded(view, row_id, [place for place in places if line.holds(place)])
                if row is not None:
                    found[row_id] = row
            return found

        return in_thread(find)

    def newest(
        self, generation: str, view: str, before: int, limit: int, words: Sequence[str]
    ) -> list[tuple[int, str]]:
        """Rows of a view that began before a position, also such as a restore undid, newest first: position and id.

        words: as for `Sealed.newest`.
        """
        sealed, horizon = self._store.log.sealed, self.horizon(generation)
        if sealed is None or not horizon:
            return []
        return in_thread(lambda: sealed.newest(self._store.log, view, before, limit, horizon, words))

    def beginning(self, generation: str, view: str, prefix: str, limit: int) -> list[str]:
        """Ids of rows of a view that begin with a prefix, also of such as a restore undid, in order."""
        sealed = self._store.log.sealed
        horizon = self.horizon(generation) if sealed is not None and view in INDEXED else 0
        if sealed is None or not horizon:
            return []
        return in_thread(lambda: sealed.beginning(self._store.log, view, prefix, limit, horizon))

    def horizon(self, generation: str) -> int:
        """The position up to which the log is sealed, as the views know it; rows of later events are all there."""
        _, (data,) = self._store.views.load(generation, [(settings.NAME, settings.SEALED)])
        return 0 if data is None else int(settings.decode(settings.SEALED, data).value)

    def _folded(self, view: str, row_id: str, places: Sequence[int]) -> Any | None:
        """The row of these events; what a restore undid is not among them, and costs nothing."""
        rows: dict[str, Any] = {}
        folds = _views[view].folds(rows)
        for event in self._events(places):
            if event.fact.__class__ in folds:
                folds[event.fact.__class__](event)
        return rows.get(row_id)

    def _events(self, places: Sequence[int]) -> Iterator[Event]:
        """The events at these positions, which are in order."""
        start = 0
        for index, place in enumerate(places):
            following = places[index + 1] if index + 1 < len(places) else None
            if following is None or following - place > NEAR:
                wanted = set(places[start : index + 1])
                first = places[start]
                events = self._store.log.read(first - 1, place - first + 1)
                yield from (event for event in events if event.seq in wanted)
                start = index + 1
