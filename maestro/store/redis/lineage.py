"""Lineage check: remembers the newest known entry of the log, and proves that the server still has it.

A server that lost a tail, was flushed, or holds another history under the same name is detected when a connection is
made, at each commit, and where a read does not continue what was read before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from maestro.model.errors import LineageBroken, VerificationFailed
from maestro.model.events import Event, LogSealed
from maestro.store.codec import chain_of, entry_of
from maestro.store.contract import Entry, Head, LogStore, Rejected
from maestro.store.keys import FLOOR, Keys
from maestro.store.redis.connection import Command, Connection, WrongType, checked

SEGMENTS = "log:segments"
"""The subject of `log.sealed` events."""
MEND = "stop, find out what the store lost, then `maestro doctor --accept-loss`"


class Lineage:
    """The newest (seq, chain) that this store object has appended or read."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = Lock()
        self._known = Head()

    @property
    def known(self) -> Head:
        """The newest head seen; all zero when none was."""
        return self._known

    def saw(self, head: Head) -> None:
        """Remember a head of the log, if it is newer."""
        with self._lock:
            if head.seq > self._known.seq:
                self._known = head

    def forget(self) -> None:
        """Forget the known head, as the namespace was erased or repaired on purpose."""
        with self._lock:
            self._known = Head()

    def greet(self, connection: Connection) -> None:
        """Check a new connection: raise `LineageBroken` unless its server has the known entry."""
        if self._known.seq:
            self._prove(connection)

    def check(self, connection: Connection) -> Head:
        """The head of the log on this connection, after a check of the log.

        Raises `LineageBroken` unless the known entry is in the log, no entry between its first and last one is missing,
        and the versions of its subjects exist.
        """
        head, is_odd = self._prove(connection)
        if is_odd:
            self._look(connection)
        return head

    def _look(self, connection: Connection) -> None:
        """As `check`, for the state at one instant (in a transaction). Raises `LineageBroken` where something is
        missing.
        """
        keys = self._keys
        commands: list[Command] = [("MULTI",), *_outline(keys), ("EXEC",)]
        first, last, count, floor = (checked(reply) for reply in checked(connection.many(commands)[-1]))
        if not last and floor is not None:
            raise LineageBroken("the entries of the log are gone", keys.log, MEND)
        if last and floor is None:
            raise LineageBroken("the versions of the log's subjects are gone", keys.versions, MEND)
        missing = _missing(first, last, count, keys.log)
        if missing:
            raise LineageBroken(f"{missing} events between its first and its last one are gone", keys.log, MEND)

    def _prove(self, connection: Connection) -> tuple[Head, bool]:
        """The head, and whether entries or versions seem to be missing.

        They may only seem so, as others may append or trim between the commands.
        """
        keys, known = self._keys, self._known
        around: Command = ("XRANGE", keys.log, f"{known.seq}-0", "+", "COUNT", 1)
        try:
            first, tail, count, floor, found = map(checked, connection.many([*_outline(keys), around]))
        except WrongType as wrong:
            what = "the log, or the versions of its subjects, were overwritten by something else"
            raise LineageBroken(what, keys.log, MEND) from wrong
        last = decode_entry(tail[0], keys.log) if tail else None
        head = Head(last.seq, last.chain, last.at, version_number(floor, keys.versions)) if last else Head()
        if head.seq < known.seq:
            raise LineageBroken(f"the log ends at {head.seq}, but {known.seq} was known", keys.log, MEND)
        for raw in found if known.seq else ():
            entry = decode_entry(raw, keys.log)
            # An entry behind the known one: that one was trimmed, as sealed entries are.
            if entry.seq == known.seq and entry.chain != known.chain:
                raise LineageBroken(f"position {known.seq} holds another event", keys.log, MEND)
        self.saw(head)
        return head, bool(last) != (floor is not None) or _missing(first, tail, count, keys.log) > 0

    def continues(self, raws: Sequence[Any]) -> None:
        """Check entries that were read: raise `LineageBroken` unless the one behind the known entry continues its
        chain.

        One entry per read is enough to detect another history; `replay verify` checks them all.
        """
        if not raws:
            return
        known = self._known
        if int(raws[-1][0][:-2]) <= known.seq:
            return
        following = known.seq + 1 - int(raws[0][0][:-2])
        if 0 <= following < len(raws):
            entry = decode_entry(raws[following], self._keys.log)
            if entry.seq != known.seq + 1 or chain_of(known.chain, entry) != entry.chain:
                raise LineageBroken(f"position {entry.seq} does not continue the log", self._keys.log, MEND)
        last = decode_entry(raws[-1], self._keys.log)
        self.saw(Head(last.seq, last.chain, last.at))


@contextmanager
def sealed_reads(following: int, newest: Callable[[], Event | None], log: str) -> Iterator[None]:
    """Context for reading sealed entries before the first entry that the store holds.

    following: position of that entry.
    newest: finds the last `log.sealed` event.
    Raises VerificationFailed where a segment file is missing or damaged, and LineageBroken where no file can exist, as
    the log says that the events were never sealed.
    """
    try:
        yield
    except VerificationFailed:
        event = newest()
        last = event.fact.last if event and isinstance(event.fact, LogSealed) else 0
        if last >= following - 1:
            raise
        what = f"the events {last + 1} to {following - 1} are gone, and were not sealed"
        raise LineageBroken(what, log, MEND) from None


def check_version(log: LogStore, rejected: Rejected) -> None:
    """Raise `LineageBroken` where an append was rejected for a version that contradicts the log."""
    last = log.event(max(rejected.expected, rejected.actual)) if rejected.reason == "version" else None
    if last is not None and rejected.actual < rejected.expected and last.subject == rejected.subject:
        what = f"the version of {rejected.subject!r} is {rejected.actual} in the store, not {last.seq}"
        raise LineageBroken(what, "log", MEND)


def version_number(version: bytes | None, where: str) -> int:
    """The number in a stored version, 0 for None. Raises `LineageBroken` where it is not a number."""
    if version is not None and not version.isdigit():
        raise LineageBroken("the versions of the log's subjects were altered", where, MEND)
    return int(version or 0)


def _outline(keys: Keys) -> list[Command]:
    """The commands that read the first and last entry, the number of entries, and the floor.

    In this order nothing seems to be missing though others append or trim in between.
    """
    return [
        ("XRANGE", keys.log, "-", "+", "COUNT", 1),
        ("XREVRANGE", keys.log, "+", "-", "COUNT", 1),
        ("XLEN", keys.log),
        ("HGET", keys.versions, FLOOR),
    ]


def _missing(first: Sequence[Any], last: Sequence[Any], count: int, log: str) -> int:
    """How many events between the first and the last one are gone, as positions have no gaps."""
    return decode_entry(last[0], log).seq - decode_entry(first[0], log).seq + 1 - count if first and last else 0


def decode_entry(raw: Sequence[Any], log: str) -> Entry:
    """Decode a raw entry. Raises `LineageBroken` where it is not an entry of this log."""
    try:
        return entry_of(raw)
    except (ValueError, TypeError) as error:
        raise LineageBroken(f"the log was altered: {error}", log, MEND) from error
