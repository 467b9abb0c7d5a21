"""The rows of all views at every waypoint, in a database: one version of a row for as long as it stayed the same.

A version holds from waypoint `since` on, before waypoint `until`. To find all that hold at a waypoint without looking
at all, each lies at a node of a binary tree over the positions: the one in its interval that the most powers of two
divide. Those that hold at W lie on the way from the root to W: in a log of a million events at one of twenty nodes.
Versions that hold still lie at node 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from maestro.model.task import Task
from projections import queue, tasks, workflow_runs
from projections.bounding.bounds import BOUNDED
from projections.fold import VIEWS
from replayers.timeline.packing import Packing

STILL = 2**62
"""The end of a version that holds still."""
TABLES = """
CREATE TABLE IF NOT EXISTS names(name INTEGER PRIMARY KEY, view TEXT, id BLOB, UNIQUE(view, id));
CREATE TABLE IF NOT EXISTS kinds(kind INTEGER PRIMARY KEY, view TEXT, part TEXT, ended INTEGER, UNIQUE(view, part));
CREATE TABLE IF NOT EXISTS counts(kind INTEGER, since INTEGER, count INTEGER, PRIMARY KEY(kind, since)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions(name INTEGER, since INTEGER, until INTEGER, node INTEGER, kind INTEGER,
  score INTEGER, rank INTEGER, words INTEGER, data BLOB, PRIMARY KEY(name, since)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS begins ON versions(kind, node, since);
CREATE INDEX IF NOT EXISTS ends ON versions(kind, node, until) WHERE node <> 0;
CREATE INDEX IF NOT EXISTS scores ON versions(kind, score);
CREATE INDEX IF NOT EXISTS ranks ON versions(kind, rank) WHERE node = 0;
"""
NAMES = ("names", "kinds", "counts", "versions")

_FIELDS = "v.score, n.id, v.rank, v.words, v.data"
_FROM = "FROM versions v JOIN names n ON n.name = v.name"
_AT_NODE = f"""SELECT {_FIELDS} FROM versions v INDEXED BY begins JOIN names n ON n.name = v.name
WHERE v.kind = ?1 AND v.node = ?2 AND v.since <= ?3 AND v.until > ?3"""
_AT_NODE_BEFORE = f"""SELECT {_FIELDS} FROM versions v INDEXED BY ends JOIN names n ON n.name = v.name
WHERE v.kind = ?1 AND v.node = ?2 AND v.node <> 0 AND v.until > ?3"""


class Kind(NamedTuple):
    """Rows of one view that are listed together. part: such as `status:failed`, "" where a view has no parts."""

    view: str
    part: str
    ended: bool


class Version(NamedTuple):
    """A version of a row. score: its place in pages; rank: in the queue, or, where it has ended, the position."""

    score: int
    id: str
    rank: int
    data: bytes


def kind_of(view: str, row: Any) -> Kind:
    """The kind of a row."""
    bounded = BOUNDED.get(view)
    ended = bounded is not None and bounded.ended(row) > 0
    if view == tasks.NAME:
        return Kind(view, f"{tasks.OF_STEPS if row.workflow else ''}status:{row.status}", ended)
    if view == workflow_runs.NAME:
        return Kind(view, f"status:{row.status}", ended)
    return Kind(view, "" if bounded is None else "ended" if ended else "open", ended)


def score_of(view: str, row: Any) -> int:
    """The place of a row in the pages of its view."""
    scores = VIEWS[view].indexes(row)
    return int(scores.get("all", getattr(row, "position", next(iter(scores.values()), 0))))


def rank_of(view: str, row: Any) -> int:
    """The place of an open task in the queue; of what has ended in a bounded view, where that was."""
    if isinstance(row, Task) and queue.holds(row):
        return row.order_key()
    bounded = BOUNDED.get(view)
    return 0 if bounded is None else bounded.ended(row)


def fork(first: int, last: int) -> int:
    """The node of an interval: the position in it that the most powers of two divide. first is at least 1."""
    node = last
    while node & (node - 1) >= first:
        node &= node - 1
    return node


@lru_cache(64)
def way(position: int, last: int) -> tuple[int, ...]:
    """The nodes, up to a last position, of all intervals that a position may lie in."""
    found = ((position >> bit + 1 << bit + 1) + (1 << bit) for bit in range(last.bit_length()))
    return tuple(node for node in found if node <= last)


class RowVersions:
    """The versions in one open database; `at` and the like read them, `put` and `remove` write."""

    def __init__(self, base: sqlite3.Connection, packing: Packing) -> None:
        self.base = base
        self._packing = packing
        self._kinds: dict[Kind, int] = {}

    # ---- reading ----

    def kinds(self, view: str) -> dict[Kind, int]:
        """The kinds of a view's rows, with their numbers."""
        found = self.base.execute("SELECT kind, part, ended FROM kinds WHERE view = ?", (view,))
        return {Kind(view, part, bool(ended)): number for number, part, ended in found}

    def row(self, view: str, row_id: str, at: int) -> bytes | None:
        """A row as it was at a waypoint."""
        found = self.base.execute(
            "SELECT v.until, v.words, v.data FROM versions v WHERE v.name = "
            "(SELECT name FROM names WHERE view = ? AND id = ?) AND v.since <= ? ORDER BY v.since DESC LIMIT 1",
            (view, _key(row_id), at),
        ).fetchone()
        return None if found is None or found[0] <= at else self._packing.unpack(self.base, *found[1:])

    def all(self, kind: int, at: int) -> Iterator[tuple[Any, ...]]:
        """All rows of a kind at a waypoint, in no order, for `version`."""
        for node in (0, *(way(at, self._last()) if at else ())):
            yield from self.base.execute(_AT_NODE if node == 0 or node >= at else _AT_NODE_BEFORE, (kind, node, at))

    def by_score(self, kind: int, at: int, bound: int | None, newest: bool) -> Iterator[tuple[Any, ...]]:
        """The rows of a kind at a waypoint in the order of their scores and ids, for `version`.

        bound: the first score. Whatever has a greater score than the newest row of the waypoint is passed over one by
        one.
        """
        compared, order = ("<=", "DESC") if newest else (">=", "ASC")
        bounded = "" if bound is None else f"AND v.score {compared} {int(bound)}"
        return self.base.execute(
            f"SELECT {_FIELDS} FROM versions v INDEXED BY scores JOIN names n ON n.name = v.name "
            f"WHERE v.kind = ?1 {bounded} AND v.since <= ?2 AND v.until > ?2 ORDER BY v.score {order}, n.id {order}",
            (kind, at),
        )

    def by_name(self, view: str, prefix: str, at: int) -> Iterator[tuple[int, bytes]]:
        """The rows of a view at a waypoint whose ids begin with a prefix, in the order of their ids: number and id."""
        first = _key(prefix)
        query = (
            "SELECT n.name, n.id FROM names n WHERE n.view = ?1 AND n.id >= ?2 AND EXISTS "
            "(SELECT 1 FROM versions v WHERE v.name = n.name AND v.since <= ?3 AND v.until > ?3) ORDER BY n.id"
        )
        for number, row_id in self.base.execute(query, (view, first, at)):
            if not row_id.startswith(first):
                return
            yield number, row_id

    def data(self, found: Sequence[Any]) -> bytes:
        """The row of a version as `all` and `by_score` find them."""
        return self._packing.unpack(self.base, found[3], found[4])

    def version(self, found: Sequence[Any]) -> Version:
        """A version as `all` and `by_score` find them."""
        score, row_id, rank, words, data = found
        return Version(score, name_of(row_id), rank, self._packing.unpack(self.base, words, data))

    def whole(self, kind: int, at: int) -> list[Version]:
        """All rows of a kind at a waypoint, in no order."""
        unpack, base = self._packing.unpack, self.base
        return [
            Version(score, str(row_id, "utf-8", "surrogatepass"), rank, unpack(base, words, data))
            for score, row_id, rank, words, data in self.all(kind, at)
        ]

    def count(self, kind: int, at: int) -> int:
        """How many rows of a kind there were at a waypoint."""
        query = "SELECT count FROM counts WHERE kind = ? AND since <= ? ORDER BY since DESC LIMIT 1"
        found = self.base.execute(query, (kind, at)).fetchone()
        return int(found[0]) if found else 0

    def oldest_ended(self, view: str, limit: int, horizon: int) -> list[Version]:
        """The rows of the newest waypoint that ended first, up to a position."""
        query = (
            f"SELECT {_FIELDS} {_FROM} WHERE v.kind = ? AND v.node = 0 AND v.rank <= ? ORDER BY v.rank LIMIT {limit:d}"
        )
        found = [
            row
            for kind, number in self.kinds(view).items()
            if kind.ended
            for row in self.base.execute(query, (number, horizon))
        ]
        return [self.version(row) for row in sorted(found, key=lambda row: row[2])[:limit]]

    def _last(self) -> int:
        """The last waypoint, which is behind the nodes of all that holds no more."""
        return int(self.base.execute("SELECT max(seq) FROM waypoints").fetchone()[0] or 0)

    # ---- writing ----

    def put(self, view: str, row_id: str, row: Any, data: bytes, at: int) -> None:
        """A row is so from a waypoint on."""
        name, kind = self._name(view, row_id), self._kind(kind_of(view, row))
        self._end(name, at)
        self._counted(kind, at, 1)
        words, packed = self._packing.pack(data)
        score, rank = score_of(view, row), rank_of(view, row)
        self.base.execute(
            "INSERT INTO versions VALUES(?, ?, ?, 0, ?, ?, ?, ?, ?)",
            (name, at, STILL, kind, score, rank, words, packed),
        )

    def remove(self, view: str, row_id: str, at: int) -> None:
        """A row is no more from a waypoint on."""
        self._end(self._name(view, row_id), at)

    def forget_before(self, first: int) -> None:
        """Delete what no waypoint from `first` on needs."""
        self.base.execute("DELETE FROM versions WHERE until <= ?", (first,))
        self.base.execute(
            "DELETE FROM counts WHERE since < "
            "(SELECT max(c.since) FROM counts c WHERE c.kind = counts.kind AND c.since <= ?)",
            (first,),
        )
        self.base.execute("DELETE FROM names WHERE name NOT IN (SELECT name FROM versions)")

    def _end(self, name: int, at: int) -> None:
        query = "SELECT since, kind FROM versions WHERE name = ? AND node = 0 ORDER BY since DESC LIMIT 1"
        found = self.base.execute(query, (name,)).fetchone()
        if found is None:
            return
        since, kind = found
        self._counted(kind, at, -1)
        if since == at:
            self.base.execute("DELETE FROM versions WHERE name = ? AND since = ?", (name, since))
            return
        self.base.execute(
            "UPDATE versions SET until = ?, node = ? WHERE name = ? AND since = ?",
            (at, fork(since, at - 1), name, since),
        )

    def _counted(self, kind: int, at: int, more: int) -> None:
        self.base.execute(
            "INSERT INTO counts VALUES(?1, ?2, ?3 + coalesce("
            "(SELECT count FROM counts WHERE kind = ?1 AND since < ?2 ORDER BY since DESC LIMIT 1), 0)) "
            "ON CONFLICT(kind, since) DO UPDATE SET count = count + ?3",
            (kind, at, more),
        )

    def _name(self, view: str, row_id: str) -> int:
        key = (view, _key(row_id))
        found = self.base.execute("SELECT name FROM names WHERE view = ? AND id = ?", key).fetchone()
        if found is None:
            return int(self.base.execute("INSERT INTO names(view, id) VALUES(?, ?)", key).lastrowid or 0)
        return int(found[0])

    def _kind(self, kind: Kind) -> int:
        if kind not in self._kinds:
            self.base.execute("INSERT OR IGNORE INTO kinds(view, part, ended) VALUES(?, ?, ?)", kind)
            self._kinds.update(self.kinds(kind.view))
        return self._kinds[kind]


def _key(row_id: str) -> bytes:
    return row_id.encode("utf-8", "surrogatepass")


def name_of(key: bytes) -> str:
    """The id of a row, as `_key` has written it."""
    return key.decode("utf-8", "surrogatepass")
