"""The log of a namespace on Redis or Valkey: one stream, appended to by one script, read in order.

An append is sent once; when its reply does not come, `Unknown` is raised and the sender (gateway.py) sends the same
again with `resend`. All other calls may be repeated, and are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

from maestro.model.errors import LineageBroken, StoreAway, StoreUnsafe, Unknown
from maestro.model.events import Event
from maestro.store.codec import event_of, events_of
from maestro.store.contract import Append, AppendResult, Entry, Head
from maestro.store.cooperative import in_thread
from maestro.store.keys import FLOOR, Keys
from maestro.store.redis.append_batch import AppendBatch, split_batch
from maestro.store.redis.connection import Connection, ReplyLost, WrongType, checked, packed
from maestro.store.redis.healing import heal, stands_at
from maestro.store.redis.lineage import MEND, SEGMENTS, Lineage, decode_entry, sealed_reads, version_number
from maestro.store.redis.log_import import load
from maestro.store.redis.pool import ConnectionPool, Script
from maestro.store.sealed import Sealed

APPEND = Script("append.lua")
FORGET = Script("forget.lua")
FORGOTTEN_A_CALL = 1000
PART_READ = 1000
WAIT_MS = 100
WAIT_AGAIN_S = 5.0


def _wait_for_replica(connection: Connection) -> None:
    """Wait until a replica has what was appended, where there is one, so that a failover loses less.

    A replica that does not keep up delays appends by WAIT_MS once every WAIT_AGAIN_S, no more: this is no quorum.
    """
    if connection.replicas and time.monotonic() > connection.wait_after:
        try:
            if not connection.call("WAIT", 1, WAIT_MS):
                connection.wait_after = time.monotonic() + WAIT_AGAIN_S
        except ReplyLost:
            connection.replicas = 0


class RedisLog:
    """`LogStore` on a server. sealed: where trimmed entries are read from."""

    sealed: Sealed | None = None

    def __init__(self, keys: Keys, pool: ConnectionPool, lineage: Lineage) -> None:
        self._keys = keys
        self._pool = pool
        self._lineage = lineage

    def head(self) -> Head:
        """The end of the log, after the lineage check."""
        return self._pool.run(self._lineage.check)

    def look(self) -> Head:
        """As `head`, and raise LineageBroken if a later id was ever in the stream: the next event could not be added
        then.
        """
        head = self.head()
        last = self._pool.run(lambda connection: stands_at(connection, self._keys.log)) if head.seq else ""
        if last and int(last.partition("-")[0]) > self.end().seq:
            what = f"something stood behind its end up to {last}, and is gone, so that nothing can be appended"
            raise LineageBroken(what, self._keys.log, MEND)
        return head

    def end(self) -> Head:
        """The position of the last entry that belongs to this log, skipping entries of other programs."""
        pool, last = self._pool, "+"
        with suppress(WrongType):
            while raws := pool.call("XREVRANGE", self._keys.log, last, "-", "COUNT", PART_READ):
                for raw in raws:
                    with suppress(LineageBroken):
                        entry = decode_entry(raw, self._keys.log)
                        return Head(entry.seq, entry.chain, entry.at)
                last = f"({raws[-1][0].decode()}"
        return Head()

    def known(self) -> Head:
        """The newest head that this object has seen; no call to the server."""
        return self._lineage.known

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group in one exchange. Raises `StoreAway` when nothing was appended, `Unknown` when that is not
        certain.
        """
        known = known or self._lineage.known
        try:
            answered = self._pool.send_once(lambda connection: self._exchange(connection, group, known))
        except ReplyLost as lost:
            raise Unknown(f"{lost.what}; the append may or may not be in the log", self._keys.log) from lost
        except WrongType:
            self.head()  # raises an error that says what happened to the log
            raise
        results: list[AppendResult] = []
        for part, (seq, chain, at, floor, answers) in answered:
            results += part.results(at, answers)
            self._lineage.saw(Head(seq, chain.decode(), at, floor))
        return results

    def _exchange(self, connection: Connection, group: Sequence[Append], known: Head) -> list[tuple[AppendBatch, Any]]:
        """Send the parts of a group and return them with their replies.

        A part is encoded while the server works on the one before.
        """
        parts: list[AppendBatch] = []
        for appends in split_batch(group):
            parts.append(AppendBatch(self._keys, appends, known))
            APPEND.send(connection, parts[-1].keys, parts[-1].args)
        replies = [connection.receive() for _ in parts]
        answered: list[tuple[AppendBatch, Any]] = []
        for part, reply in zip(parts, replies, strict=True):
            try:
                answered.append((part, APPEND.settle(connection, part.keys, part.args, reply)))
            except (StoreAway, StoreUnsafe) as error:
                if any(not isinstance(other, Exception) for other in replies) or answered:
                    raise ReplyLost(f"a part of the group failed: {error.what}") from error
                raise
        _wait_for_replica(connection)
        return answered

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`."""
        return self._joined(after, count, self._range(after, count))

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored."""
        raws = self._range(after, count)
        return [*self._trimmed(after, count, raws), *(decode_entry(raw, self._keys.log) for raw in raws)][:count]

    def _range(self, after: int, count: int) -> list[Any]:
        raws: list[Any] = self._pool.call("XRANGE", self._keys.log, f"{after + 1}-0", "+", "COUNT", count)
        return raws

    def _joined(self, after: int, count: int, raws: list[Any]) -> list[Event]:
        events = self._events(raws)
        trimmed = self._trimmed(after, count, raws)
        return [*map(event_of, trimmed), *events][:count] if trimmed else events

    def _trimmed(self, after: int, count: int, raws: list[Any]) -> list[Entry]:
        """The sealed entries between `after` and these raw entries, where these are the first that the server holds."""
        if self.sealed is None or not raws or after < 0 or raws[0][0] == b"%d-0" % (after + 1):
            return []
        following = decode_entry(raws[0], self._keys.log)
        if following.seq > self.first():
            return []
        before = partial(self.sealed.before, following, after, count)
        with self._past(following):
            return in_thread(before)  # it reads files and decompresses them, which must not keep trio's thread

    def _past(self, following: Entry) -> AbstractContextManager[None]:
        """Context for reading sealed entries before an entry (`lineage.sealed_reads`)."""

        def newest() -> Event | None:
            floor, version = self._pool.call("HMGET", self._keys.versions, FLOOR, SEGMENTS)
            if version_number(version, self._keys.versions) >= following.seq:
                return self.event(version_number(version, self._keys.versions))
            if not version_number(floor, self._keys.versions):
                return None
            # A restore cut the links between the events of a subject, so search the log.
            after, found = following.seq - 1, None
            while events := self._events(self._range(after, PART_READ)):
                found = next((event for event in reversed(events) if event.subject == SEGMENTS), found)
                after = events[-1].seq
            return found

        return sealed_reads(following.seq, newest, self._keys.log)

    def first(self) -> int:
        """The first position that the server holds, 0 for an empty log."""
        raws = self._range(0, 1)
        return decode_entry(raws[0], self._keys.log).seq if raws else 0

    def trim(self, first: int) -> None:
        """Delete all entries before `first`. The head is read anew, as it must never be trimmed."""
        self._pool.call("XTRIM", self._keys.log, "MINID", f"{min(first, self.head().seq)}-0")

    def load(self, parts: Iterable[Sequence[Entry]]) -> Head:
        """Fill the empty log with the entries of another one."""
        head = self._pool.send_once(lambda connection: load(connection, self._keys, parts))
        self._lineage.saw(head)
        return head

    def mend(self) -> str:
        """Repair the log from the entries that are left; returns what was wrong."""
        done = self._pool.run(lambda connection: heal(connection, self._keys, self.sealed), repeat=False)
        if done:
            self._lineage.forget()
        return done

    def _events(self, raws: list[Any]) -> list[Event]:
        self._lineage.continues(raws)
        try:
            return events_of(raws)
        except (ValueError, TypeError) as error:
            raise LineageBroken(f"the log was altered: {error}", self._keys.log, MEND) from error

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists.

        Positions have no gaps, so the next list is requested before this one is decoded: the server and this process
        work at the same time.
        """

        def ask(connection: Connection, first: int) -> None:
            last = min(first + chunk - 1, upto)
            connection.send(packed(("XRANGE", self._keys.log, f"{first}-0", f"{last}-0")))

        if self.sealed is not None and after < upto:
            raws = self._range(0, 1)
            following = decode_entry(raws[0], self._keys.log) if raws else None
            if following is not None and following.seq > after + 1:
                last = min(upto, following.seq - 1)
                with self._past(following):
                    for entries in self.sealed.scan(following, after, last, chunk):
                        yield list(map(event_of, entries))
                after = last
        if after >= upto:
            return
        with self._pool.lend() as connection:
            firsts = range(after + 1, upto + 1, chunk)
            ask(connection, firsts[0])
            for first, following in zip(firsts, (*firsts[1:], None), strict=True):
                raws = checked(connection.receive())
                if following is not None:
                    ask(connection, following)
                if raws and raws[0][0] == b"%d-0" % first:
                    yield self._events(raws)
                elif events := [event for event in self.read(first - 1, chunk) if event.seq < first + chunk]:
                    yield events  # entries were trimmed meanwhile, or are damaged

    def event(self, seq: int) -> Event | None:
        """The event at a position, None where there is none."""
        raws: list[Any] = self._pool.call("XRANGE", self._keys.log, f"{seq}-0", f"{seq}-0")
        if raws or self.sealed is None or seq < 1:
            return self._events(raws)[0] if raws else None
        return next((event for event in self.read(seq - 1, 1) if event.seq == seq), None)

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but wait for the first event. A wait that found nothing checks that `after` still exists."""
        wait = ("BLOCK", block_ms) if block_ms > 0 else ()
        found = self._pool.block(("XREAD", "COUNT", count, *wait, "STREAMS", self._keys.log, f"{after}-0"), block_ms)
        if found:
            return self._joined(after, count, found[self._keys.log.encode()])
        if found is None and self.head().seq < after:
            raise LineageBroken(f"the log ends before {after}, which was known", self._keys.log, MEND)
        return []

    def cursor_get(self, group: str) -> int | None:
        """The position of a durable group, None for a new one."""
        cursors, call = self._keys.cursors, self._pool.call
        position: bytes | None = self._pool.with_type([cursors], b"hash", lambda: call("HGET", cursors, group))
        # A damaged position counts as lost: the group gets all events again (at-least-once).
        return int(position) if position is not None and position.isdigit() else None

    def cursor_set(self, group: str, seq: int) -> None:
        """Set the position of a durable group."""
        cursors, call = self._keys.cursors, self._pool.call
        self._pool.with_type([cursors], b"hash", lambda: call("HSET", cursors, group, seq))

    def wake(self) -> None:
        """End all blocking calls of this store object soon."""
        self._pool.wake()

    def version(self, subject: str) -> int:
        """The version of a subject."""
        floor, version = self._pool.call("HMGET", self._keys.versions, FLOOR, subject.encode())
        return max(version_number(version, self._keys.versions), version_number(floor, self._keys.versions))

    def versions(self, subjects: Sequence[str] | None = None) -> dict[str, int]:
        """The versions of all or some subjects, and the floor."""
        versions = self._keys.versions
        if subjects is not None:
            names = (FLOOR, *subjects)
            found = self._pool.call("HMGET", versions, *(name.encode() for name in names))
            held = zip(names, found, strict=True)
            return {name: version_number(version, versions) for name, version in held if version is not None}
        told: dict[str, int] = {}
        cursor = b"0"
        while True:
            cursor, flat = self._pool.call("HSCAN", versions, cursor, "COUNT", PART_READ)
            for subject, version in zip(flat[::2], flat[1::2], strict=True):
                told[subject.decode("utf-8", "replace")] = version_number(version, versions)
            if cursor == b"0":
                return told

    def forget(self, versions: Mapping[str, int], horizon: int) -> int:
        """Forget versions that have not changed, and raise the horizon."""
        gone, some = 0, list(versions.items())
        for start in range(0, max(len(some), 1), FORGOTTEN_A_CALL):
            named = some[start : start + FORGOTTEN_A_CALL]
            args = [word for subject, version in named for word in (subject.encode(), version)]
            gone += int(self._pool.script(FORGET, [self._keys.versions], [horizon, *args]))
        return gone
