"""Which events hold: a restore cuts the line of valid events, but never the log (`maestro.model.restore.line`).

`restore.done{to: P}` at seq r means that from then on the events 1…P and r… hold; an earlier restore may have cut the
line up to P as well. A cut is the pair (r, P). All cuts are found without reading the whole log: after a restore, the
first event of every subject has the floor (the end of the restore's append) as its `prev`, and a restore's own subject
begins after the restore before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from maestro.model.events import Event, RestoreDone
from maestro.model.restore import line
from maestro.store.contract import LogStore

END_OF_LOG = 2**63 - 1
"""Behind every position that a log can reach."""
BACK = 500
"""Events read at once while searching for the `restore.done` in the append that a floor ends."""


class Cut(NamedTuple):
    """A restore: its `restore.done` at seq `at` goes back to position `to`."""

    at: int
    to: int


class Line:
    """The events that hold at position `end`, as ranges in order. Without cuts: all of them."""

    def __init__(self, cuts: Sequence[Cut] = (), end: int | None = None) -> None:
        self.cut = max((cut.at for cut in cuts if end is None or cut.at <= end), default=0)
        self.ranges = ranges(cuts, end)
        self._firsts = [first for first, _ in self.ranges]

    def holds(self, seq: int) -> bool:
        """Whether the event at seq is on the line."""
        if seq >= self.cut:
            return True
        place = bisect_right(self._firsts, seq) - 1
        return place >= 0 and seq <= self.ranges[place][1]


def ranges(cuts: Sequence[Cut], end: int | None = None) -> list[tuple[int, int]]:
    """The ranges (first, last) of the events that hold at `end` (default: the end of the log), in order."""
    return [(part[0], part[-1]) for part in line(sorted(cuts), END_OF_LOG if end is None else end)]


def cuts_of(events: Iterable[Event]) -> list[Cut]:
    """The cuts of the `restore.done` events among these."""
    return [Cut(event.seq, event.fact.to) for event in events if isinstance(event.fact, RestoreDone)]


def find_cuts(log: LogStore, floor: int) -> list[Cut]:
    """All cuts up to a floor (of the log's head, or the seq of a `restore.done`), oldest first.

    Cost: O(restores), whatever the length of the log.
    """
    cuts: list[Cut] = []
    while floor > 0:
        event = _restore_before(log, floor)
        if event is None:
            break
        cuts += cuts_of([event])
        floor = _floor_before(log, event)
    return cuts[::-1]


def _restore_before(log: LogStore, floor: int) -> Event | None:
    """The last `restore.done` at or before `floor`; other events of its append may stand between them."""
    while floor > 0:
        after = max(0, floor - BACK)
        for event in reversed(log.read(after, floor - after)):
            if isinstance(event.fact, RestoreDone):
                return event
        floor = after
    return None


def _floor_before(log: LogStore, restored: Event) -> int:
    """The floor before a restore: the `prev` of the first event of its subject since then, 0 for none."""
    event: Event | None = restored
    while event is not None and event.prev > 0:
        previous = log.event(event.prev)
        if previous is None or previous.subject != restored.subject or isinstance(previous.fact, RestoreDone):
            return event.prev
        event = previous
    return 0
