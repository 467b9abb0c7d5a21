"""The file of a timeline: opened for reading and for writing, made anew where it is missing, damaged or another one.

Whoever deletes it, at any time, loses nothing but the time to make it again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock

import msgspec

from maestro.folders import private_folder
from maestro.model.errors import Refused
from replayers.timeline import density, packing, row_versions
from replayers.timeline.packing import Damaged

FORMAT = 1
BUSY_S = 20.0
WHERE = "MAESTRO_HOME"
ASIDE = ("-wal", "-shm")

_TABLES = f"""
CREATE TABLE IF NOT EXISTS state(data BLOB);
CREATE TABLE IF NOT EXISTS waypoints(seq INTEGER PRIMARY KEY);
{row_versions.TABLES}{density.TABLES}{packing.TABLE}
"""
_EMPTIED = ("state", "waypoints", "dictionaries", *row_versions.NAMES, *density.NAMES)


class State(msgspec.Struct, frozen=True):
    """What a timeline holds: the waypoints from `first` to `seq` of the log with this chain value at `seq`.

    edition: another one whenever it was made anew. folds: the versions of the folds. written: rows that were packed.
    """

    edition: str
    folds: str
    first: int = 0
    seq: int = 0
    chain: str = ""
    written: int = 0


class Database:
    """The file of one timeline. Thread-safe: reading does not wait for writing. Raises Refused for a bad disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._locks = {True: RLock(), False: RLock()}
        self._open: dict[bool, tuple[sqlite3.Connection, int]] = {}

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database as it is now, for the block. Raises Damaged."""
        with self._transaction("BEGIN", writes=False) as base:
            yield base

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The database with nobody else who writes; what the block did is kept, unless it raises. Raises Damaged."""
        with self._transaction("BEGIN IMMEDIATE", writes=True) as base:
            yield base

    def forget(self) -> None:
        """Delete the file."""
        self.close()
        with self._refusing():
            for end in ("", *ASIDE):
                self._beside(end).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        for writes, lock in self._locks.items():
            with lock:
                self._close(writes)

    @contextmanager
    def _transaction(self, begin: str, *, writes: bool) -> Iterator[sqlite3.Connection]:
        with self._locks[writes], self._refusing():
            base = self._connection(writes)
            base.execute(begin)
            try:
                yield base
                base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    base.execute("ROLLBACK")
                raise

    def _connection(self, writes: bool) -> sqlite3.Connection:
        """The open connection, of the file that the path leads to now."""
        held = self._open.get(writes)
        if held is not None:
            with suppress(OSError):
                if self.path.stat().st_ino == held[1]:
                    return held[0]
            self._close(writes)
        folder = private_folder(self.path.parent, WHERE)
        if not self.path.exists():
            for end in ASIDE:
                self._beside(end).unlink(missing_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        base = sqlite3.connect(folder / self.path.name, BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            found = base.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, FORMAT):
                raise Damaged
            base.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cell_size_check = ON;"
                "PRAGMA cache_size = -32000;"
            )
            if not found:
                base.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
        except BaseException:
            base.close()
            raise
        self._open[writes] = base, self.path.stat().st_ino
        return base

    def _close(self, writes: bool) -> None:
        held = self._open.pop(writes, None)
        if held is not None:
            held[0].close()

    def _beside(self, end: str) -> Path:
        return self.path.with_name(f"{self.path.name}{end}")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error):  # a file that has not got these tables
                raise Damaged from error
            raise self._refused(error) from error
        except sqlite3.DatabaseError as error:
            raise Damaged from error
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> Refused:
        mend = "see that its folder is writable and its disk has room, or delete it"
        return Refused(f"the timeline cannot be used: {error}", str(self.path), mend)


def state_of(base: sqlite3.Connection) -> State | None:
    """What the timeline holds; None where that is nothing yet."""
    found = base.execute("SELECT data FROM state").fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=State)


def keep_state(base: sqlite3.Connection, state: State) -> None:
    """Say what the timeline holds from now on."""
    base.execute("DELETE FROM state")
    base.execute("INSERT INTO state VALUES(?)", (msgspec.json.encode(state),))


def emptied(base: sqlite3.Connection, folds: str) -> State:
    """Empty the timeline, to be made anew; returns what it holds from now on."""
    for table in _EMPTIED:
        base.execute(f"DELETE FROM {table}")
    state = State(secrets.token_hex(8), folds)
    keep_state(base, state)
    return state


def size(base: sqlite3.Connection) -> int:
    """The bytes of the file that are in use."""
    pages, free, page = (
        base.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page)
