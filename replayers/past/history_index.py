"""The index of sealed history: for each row of a bounded view, such as a task, the positions of its events.

It lies beside the segments of this node, is made from the log alone, and made again where it is missing, damaged, or of
another log. It is never the truth: what it names is read from the log, and a row is folded from that.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import TypeVar

from maestro.folders import private_folder
from maestro.model.errors import Refused
from maestro.model.events import (
    AnyFact,
    Event,
    RunReleased,
    RunStarted,
    TaskDispatched,
    TaskFinished,
    WorkflowRunFinished,
    WorkflowRunStarted,
)
from maestro.store.sealed import ReadLog
from projections.bounding.past import INDEXED
from projections.fold import FOLDED

T = TypeVar("T")

FORMAT = 4
A_TIME = 10_000
"""Events that are entered by one transaction."""
BUSY_S = 60.0
SETTING = "MAESTRO_SEGMENTS_DIR"
_TABLES = """
CREATE TABLE IF NOT EXISTS state(format INTEGER, seq INTEGER, chain TEXT);
CREATE TABLE IF NOT EXISTS found(view TEXT, id TEXT, first INTEGER, positions TEXT, words TEXT, PRIMARY KEY(view, id))
  WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_first ON found(view, first);
"""
_ADD = """INSERT INTO found VALUES(?, ?, ?, ?, ?)
ON CONFLICT(view, id) DO UPDATE SET positions = positions || excluded.positions, words = words || excluded.words"""

Touches = dict[type[AnyFact], tuple[tuple[str, Callable[[Event], str]], ...]]


def _touches() -> Touches:
    found: dict[type[AnyFact], list[tuple[str, Callable[[Event], str]]]] = defaultdict(list)
    for view in FOLDED:
        for fact in view.folds({}) if view.NAME in INDEXED else ():
            found[fact].append((view.NAME, view.touches))
    return {fact: tuple(of) for fact, of in found.items()}


def words_of(event: Event) -> Sequence[str]:
    """What a row may be looked for by: the targets of a task, the agents of its runs, and how it has ever ended; of the
    run of a workflow that, and how it has ended.
    """
    match event.fact:
        case TaskDispatched(targets=targets):
            return targets
        case RunReleased(agent=agent) | RunStarted(agent=agent):
            return (agent,)
        case WorkflowRunStarted(workflow=workflow):
            return (workflow,)
        case TaskFinished(status=status) | WorkflowRunFinished(status=status):
            return (f"={status}",)
    return ()


class HistoryIndex:
    """The index of one log in a file. Thread-safe, and safe beside other processes. Raises Refused for a bad disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()
        self._touches = _touches()

    def positions(self, log: ReadLog, view: str, rows: Collection[str], upto: int) -> dict[str, list[int]]:
        """By row of a view, the positions up to `upto` of its events; without rows that have none."""
        query = "SELECT positions FROM found WHERE view = ? AND id = ?"

        def read(base: sqlite3.Connection) -> dict[str, list[int]]:
            found: dict[str, list[int]] = {}
            for row in rows:
                told = base.execute(query, (view, row)).fetchone()
                places = [place for place in map(int, told[0].split()) if place <= upto] if told else []
                if places:
                    found[row] = places
            return found

        return self._read(log, upto, read)

    def newest(
        self, log: ReadLog, view: str, before: int, limit: int, upto: int, words: Sequence[str] = ()
    ) -> list[tuple[int, str]]:
        """Rows of a view that began before a position, newest first: the position of the first event, and the id.

        words: only those of whose events all of these were told (`words_of`).
        """
        told = " AND instr(words, ?)" * len(words)
        query = f"SELECT first, id FROM found WHERE view = ? AND first < ?{told} ORDER BY first DESC LIMIT ?"
        named = [f"|{word}|" for word in words]

        def read(base: sqlite3.Connection) -> list[tuple[int, str]]:
            return list(base.execute(query, (view, min(before, upto + 1), *named, limit)))

        return self._read(log, upto, read)

    def beginning(self, log: ReadLog, view: str, prefix: str, limit: int, upto: int) -> list[str]:
        """Up to `limit` ids of rows of a view that begin with a prefix, in order."""
        query = "SELECT id FROM found WHERE view = ? AND id >= ? AND id < ? AND first <= ? ORDER BY id LIMIT ?"

        def read(base: sqlite3.Connection) -> list[str]:
            return [row for (row,) in base.execute(query, (view, prefix, f"{prefix}\U0010ffff", upto, limit))]

        return self._read(log, upto, read)

    def catch_up(self, log: ReadLog, upto: int) -> None:
        """Enter all events up to a position that are not entered yet."""
        self._read(log, upto, lambda _: None)

    def forget(self) -> None:
        """Delete the file: the next question makes it anew."""
        with self._lock:
            for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                path.unlink(missing_ok=True)

    def _read(self, log: ReadLog, upto: int, read: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._refusing():
            try:
                return self._once(log, upto, read)
            except sqlite3.OperationalError as error:  # busy, or a full disk: the file is as good as before
                if "locked" in str(error) or "full" in str(error) or "readonly" in str(error):
                    raise
            except sqlite3.DatabaseError:
                pass
            self.forget()
            return self._once(log, upto, read)

    def _once(self, log: ReadLog, upto: int, read: Callable[[sqlite3.Connection], T]) -> T:
        if not self.path.parent.is_dir():
            private_folder(self.path.parent.parent, SETTING)
            private_folder(self.path.parent, SETTING)
        with closing(sqlite3.connect(self.path, BUSY_S, isolation_level=None)) as base:
            base.executescript(f"PRAGMA synchronous = OFF; PRAGMA cell_size_check = ON; {_TABLES}")
            seq = self._known(base, log)
            while seq < upto:
                seq = self._enter(base, log, upto)
            return read(base)

    def _known(self, base: sqlite3.Connection, log: ReadLog) -> int:
        """The position up to which the log is entered; 0, and all deleted, where it is another log."""
        row = base.execute("SELECT format, seq, chain FROM state").fetchone()
        if row is None:
            return 0
        format, seq, chain = row
        entries = log.entries(seq - 1, 1)
        if format == FORMAT and entries and (entries[0].seq, entries[0].chain) == (seq, chain):
            return int(seq)
        base.executescript("BEGIN IMMEDIATE; DELETE FROM state; DELETE FROM found; COMMIT;")
        return 0

    def _enter(self, base: sqlite3.Connection, log: ReadLog, upto: int) -> int:
        """Enter the next events; returns the position reached. Another process may do so at the same time."""
        base.execute("BEGIN IMMEDIATE")
        try:
            row = base.execute("SELECT seq FROM state").fetchone()
            seq = int(row[0]) if row else 0
            last = min(upto, seq + A_TIME)
            if seq < last:
                base.executemany(_ADD, self._rows(log.scan(seq, last)))
                chain = log.entries(last - 1, 1)[0].chain
                base.execute("DELETE FROM state")
                base.execute("INSERT INTO state VALUES(?, ?, ?)", (FORMAT, last, chain))
            base.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                base.execute("ROLLBACK")
            raise
        return max(seq, last)

    def _rows(self, parts: Iterator[Sequence[Event]]) -> Iterator[tuple[str, str, int, str, str]]:
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        words: dict[tuple[str, str], set[str]] = defaultdict(set)
        for events in parts:
            for event in events:
                for view, touches in self._touches.get(event.fact.__class__, ()):
                    key = (view, touches(event))
                    found[key].append(event.seq)
                    words[key].update(words_of(event))
        for key, places in found.items():
            told = "".join(f"|{word}|" for word in sorted(words[key]))
            yield *key, places[0], "".join(f"{place} " for place in places), told

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = f"the index of sealed history cannot be used: {error}"
            raise Refused(what, str(self.path), "see that its folder is writable and its disk has room") from error
