"""The bound of the views: of what has ended, only the newest rows stay; older ones are answered from sealed history.

At each event whose position is a multiple of `EVERY`, behind that event, each bounded view loses the rows that ended
first: as many as it holds above the setting `views.keep`, at most `MOST` at once, and only those whose end is sealed.
All of it follows from the log, so that every fold has the same rows at the same position, however it got there.
`projections/README.md` says why it is done so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from maestro.model.events import AnyFact, Event
from maestro.model.settings.namespace_setting import KEEP, Setting, number
from projections import restores, snapshots, tasks, workflow_runs
from projections.monitoring import alerts

EVERY = 1000
"""Views are cut at the positions that are multiples of this."""
MOST = 1000
"""A view loses at most so many rows at once, so that a save stays small. As each row took two events, all go in time.
"""


class Bounded(Protocol):
    """The interface of a bounded view's module."""

    NAME: str
    FOLLOWS_LINE: bool
    ENDED: str
    """The index of the rows that have ended, by the position of their end."""
    ENDS: tuple[type[AnyFact], ...]
    """The facts that may change whether, or where, a row has ended."""

    def touches(self, event: Event, /) -> str:
        """The id of the row that an event may change."""

    def ended(self, row: Any, /) -> int:
        """The position at which a row has ended, 0 where it is open."""


BOUNDED: dict[str, Bounded] = {view.NAME: view for view in (tasks, workflow_runs, snapshots, restores, alerts)}


def keep(rows: Mapping[str, Setting]) -> int:
    """How many rows of what has ended each view keeps, by the rows of `settings`."""
    return number(KEEP, rows.get(f"setting:{KEEP}"))


def is_step(seq: int) -> bool:
    """Whether views are cut behind the event at this position."""
    return seq % EVERY == 0


def next_step(seq: int) -> int:
    """The first position from `seq` on at which views are cut."""
    return -(-seq // EVERY) * EVERY


class EndedRows:
    """The rows of one view that have ended, in the order of their ends, as a fold in memory follows them.

    mark: to be called with each event of a fact in `ENDS`, after it was folded.
    """

    def __init__(self, view: Bounded, rows: dict[str, Any]) -> None:
        self._view = view
        self._rows = rows
        self._marked: list[str] = []
        self._order: dict[str, int] = {}

    def marks(self) -> Mapping[type[AnyFact], Callable[[Event], None]]:
        """For each fact in `ENDS`, the function to call."""
        touches, add = self._view.touches, self._marked.append

        def mark(event: Event) -> None:
            add(touches(event))

        return dict.fromkeys(self._view.ENDS, mark)

    def evict(self, kept: int, horizon: int) -> list[str]:
        """Delete the rows that go at this position; returns their ids. horizon: the log is sealed up to there."""
        self._settle()
        surplus = min(len(self._order) - kept, MOST)
        gone: list[str] = []
        for row_id, end in self._order.items():
            if len(gone) >= surplus or end > horizon:
                break
            gone.append(row_id)
        for row_id in gone:
            del self._order[row_id], self._rows[row_id]
        return gone

    def _settle(self) -> None:
        """Take in what was marked. What has ended anew ended behind all that had ended before."""
        anew: list[tuple[int, str]] = []
        for row_id in dict.fromkeys(self._marked):
            row = self._rows.get(row_id)
            end = 0 if row is None else self._view.ended(row)
            if end == self._order.get(row_id, 0):
                continue
            self._order.pop(row_id, None)
            if end:
                anew.append((end, row_id))
        self._marked.clear()
        self._order.update((row_id, end) for end, row_id in sorted(anew))
