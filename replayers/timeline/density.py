"""How many events there are along the log, by kind and with their times, without reading them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from maestro.model.events import Event

CELLS = (100, 1_000, 10_000)
"""The sizes of cells in events. Cell n of a size holds the positions n * size + 1 up to (n + 1) * size."""

TABLES = """
CREATE TABLE IF NOT EXISTS cells(size INTEGER, cell INTEGER, kind TEXT, count INTEGER, first_at INTEGER,
  last_at INTEGER, PRIMARY KEY(size, cell, kind)) WITHOUT ROWID;
"""
NAMES = ("cells",)

_ADD = """INSERT INTO cells VALUES(?, ?, ?, ?, ?, ?)
ON CONFLICT(size, cell, kind) DO UPDATE SET count = count + excluded.count,
  first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"""
_SUM = """SELECT (cell * size + 1 - ?2) / ?4, kind, sum(count), min(first_at), max(last_at)
FROM cells WHERE size = ?1 AND cell BETWEEN (?2 - 1) / ?1 AND (?3 - 1) / ?1 GROUP BY 1, 2 ORDER BY 1, 2"""

Counts = dict[tuple[int, str], list[int]]


class Bucket(msgspec.Struct, frozen=True):
    """Events of a stretch of the log. kinds: how many of each family of types, such as `task`; times in ms."""

    first: int
    last: int
    count: int
    first_at: int
    last_at: int
    kinds: dict[str, int]


def enter(base: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Count events into the cells."""
    found: Counts = {}
    size = CELLS[0]
    for event in events:
        cell = (event.seq - 1) // size, event.type.partition(".")[0]
        held = found.get(cell)
        if held is None:
            found[cell] = [1, event.at, event.at]
        else:
            held[0] += 1
            held[2] = event.at
    for coarse in CELLS:
        merged = _coarser(found, coarse // size)
        base.executemany(_ADD, [(coarse, *cell, *held) for cell, held in merged.items()])


def _coarser(found: Counts, times: int) -> Counts:
    merged: Counts = {}
    for (cell, kind), (count, first, last) in found.items():
        held = merged.setdefault((cell // times, kind), [0, first, last])
        held[0] += count
        held[2] = last
    return merged


class Density:
    """Counts the events first..last in at most so many buckets of equal width.

    exact: buckets begin anywhere; else at the beginning of a cell, so that cells can be added.
    """

    def __init__(self, first: int, last: int, buckets: int, exact: bool) -> None:
        width = max(1, -(-(last - first + 1) // max(1, buckets)))
        self.size = 1 if exact else max((size for size in CELLS if size <= width), default=CELLS[0])
        self.first = (first - 1) // self.size * self.size + 1
        self.last = last
        self.width = -(-width // self.size) * self.size
        while not exact and (last - self.first) // self.width >= max(1, buckets):
            self.width += self.size
        self._found: Counts = {}

    def add_cells(self, base: sqlite3.Connection, upto: int) -> None:
        """Add the events up to a position from the cells; of the cell that this lies in, all that are entered."""
        for cell, *held in base.execute(_SUM, (self.size, self.first, min(upto, self.last), self.width)):
            self._add(cell, *held)

    def add(self, events: Iterable[Event]) -> None:
        """Add events one by one."""
        for event in events:
            self._add((event.seq - self.first) // self.width, event.type.partition(".")[0], 1, event.at, event.at)

    def buckets(self) -> list[Bucket]:
        """The buckets that have events, in order."""
        found: dict[int, list[tuple[str, list[int]]]] = {}
        for (cell, kind), held in sorted(self._found.items()):
            found.setdefault(cell, []).append((kind, held))
        return [
            Bucket(
                self.first + cell * self.width,
                min(self.first + (cell + 1) * self.width - 1, self.last),
                sum(held[0] for _, held in kinds),
                min(held[1] for _, held in kinds),
                max(held[2] for _, held in kinds),
                {kind: held[0] for kind, held in kinds},
            )
            for cell, kinds in found.items()
        ]

    def _add(self, cell: int, kind: str, count: int, first_at: int, last_at: int) -> None:
        held = self._found.get((cell, kind))
        if held is None:
            self._found[cell, kind] = [count, first_at, last_at]
            return
        held[0] += count
        held[1], held[2] = min(held[1], first_at), max(held[2], last_at)
