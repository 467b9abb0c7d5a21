"""The log in memory: a port of the append script (`redis/append.lua`) to Python, statement for statement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Condition

import msgspec

from maestro.model.errors import LineageBroken
from maestro.model.events import Event
from maestro.store.codec import Encoded, chain_of, encode_append, event_of
from maestro.store.contract import Append, AppendResult, Committed, Entry, Fence, Head, Hint, Rejected
from maestro.store.keys import FLOOR, HORIZON
from maestro.store.memory.work import MemoryWork
from maestro.store.redis.lineage import SEGMENTS, sealed_reads
from maestro.store.redis.log_import import Succession, log_not_empty
from maestro.store.sealed import Sealed


class MemoryLog:
    """`LogStore` in memory. sealed: where trimmed entries are read from. `self._entry(seq)` is the entry at seq."""

    sealed: Sealed | None = None

    def __init__(self, changed: Condition, now: Callable[[], int], work: MemoryWork) -> None:
        self._changed = changed
        self._now = now
        self._work = work
        self._entries: list[Entry] = []
        self._gone = 0  # the last position that was trimmed
        self._versions: dict[str, int] = {}
        self._at = 0
        self._floor = 0
        self._horizon = 0  # up to which versions may have been forgotten
        self._woken = 0
        self._cursors: dict[str, int] = {}

    def look(self) -> Head:
        """The end of the log, as `head`."""
        return self.head()

    def end(self) -> Head:
        """The end of the log, as `head`."""
        return self.head()

    def head(self) -> Head:
        """The end of the log."""
        with self._changed:
            return Head(self._last(), self._chain(), self._at, self._floor)

    def known(self) -> Head:
        """The end of the log: a memory store loses nothing."""
        return self.head()

    def _last(self) -> int:
        return self._gone + len(self._entries)

    def _entry(self, seq: int) -> Entry | None:
        """The entry at a position of the log; None where it was trimmed."""
        return self._entries[seq - self._gone - 1] if seq > self._gone else None

    def _chain(self) -> str:
        return self._entries[-1].chain if self._entries else ""

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group, each append on its own terms."""
        with self._changed:
            if known:
                self._check_lineage(known)
            start = self._last()
            self._at = max(self._at, self._now()) if group else self._at
            results = [self._append(append, known.seq if known and known.seq else start, start) for append in group]
            if self._last() > start:
                self._changed.notify_all()
            return results

    def _check_lineage(self, known: Head) -> None:
        if known.seq > self._last():
            raise LineageBroken(f"the log ends at {self._last()}, before position {known.seq}")
        entry = self._entry(known.seq) if known.seq else None
        if entry is not None and entry.chain != known.chain:
            raise LineageBroken(f"position {known.seq} holds another event")

    def _append(self, append: Append, known: int, start: int) -> AppendResult:
        encoded = encode_append(append)
        if isinstance(encoded, Rejected):
            return encoded
        since = append.since if append.resend else known
        for index, event in enumerate(encoded):
            result = self._check(append, event, (index, since, start))
            if result:
                return result
        if append.fence and not self._holds(append.fence):
            return Rejected("fence", append.events[0].subject)
        first, followers = self._last() + 1, len(append.follows)
        for event in encoded[: len(encoded) - followers]:
            self._write(event, append.actor, append.cause)
        for event, actor in zip(encoded[len(encoded) - followers :], append.follows, strict=True):
            self._write(event, actor, str(self._last()))
        if append.floors:
            self._versions.clear()
            self._floor = self._last()
        for hint in append.hints:
            token = first + hint.event if hint.event >= 0 else hint.token
            self._work.put([Hint(hint.stream, hint.run, -1, token)])
        return Committed(first, self._last(), self._at)

    def _check(self, append: Append, event: Encoded, at: tuple[int, int, int]) -> Committed | Rejected | None:
        """The result of an append that this event settles, None if it settles none.

        at: index of the event, position behind which earlier tries are looked for, end of the log before this commit.
        """
        index, since, start = at
        actual = self._versions.get(event.subject, self._floor)
        expected = int(event.expected) if event.expected else None
        if expected is not None and expected != actual:
            after = max(expected, since) if append.resend else expected
            # it is in the log with the one before it, or not at all
            follows = index >= len(append.events) - len(append.follows)
            found = None if follows else self._seen(append, event, after, start, append.resend)
            if not found:
                forgotten = event.subject not in self._versions and self._floor < expected <= self._horizon
                return Rejected("sealed" if forgotten else "version", event.subject, expected, actual)
        elif index == 0 and expected is None and start > since:
            found = self._seen(append, event, since, start, True)
        elif expected is not None and event.subject not in self._versions:
            read = min(append.read_at if append.read_at >= 0 else start, since if append.resend else start)
            return Rejected("sealed", event.subject, expected, actual) if read < self._horizon else None
        else:
            return None
        if not found:
            return None
        first = found.seq - index
        return Committed(first, first + len(append.events) - 1, found.at, duplicate=True)

    def _seen(self, append: Append, event: Encoded, after: int, start: int, scan: bool) -> Entry | None:
        """The entry that an earlier try of the append wrote for this event behind position `after`, or None."""

        def same(entry: Entry) -> bool:
            return (entry.type, entry.subject, entry.data, entry.actor, entry.cause) == (
                event.type.encode(),
                event.subject.encode(),
                event.data.encode(),
                append.actor.encode(),
                append.cause.encode(),
            )

        version = self._versions.get(event.subject, self._floor)
        while version > max(after, self._floor):
            entry = self._entry(version)
            if entry is None or entry.subject != event.subject.encode():
                break
            if version <= start and same(entry):
                return entry
            version = entry.prev
        if scan and self._floor > after:
            return next(filter(same, self._entries[max(0, after - self._gone) : start - self._gone]), None)
        return None

    def _holds(self, fence: Fence) -> bool:
        return self._work.lease_holder(fence.lease) == fence.holder

    def _write(self, event: Encoded, actor: str, cause: str) -> None:
        entry = Entry(
            self._last() + 1,
            event.type.encode(),
            event.subject.encode(),
            self._at,
            actor.encode(),
            cause.encode(),
            self._versions.get(event.subject, self._floor),
            event.v.encode(),
            event.data.encode(),
            "",
        )
        self._entries.append(msgspec.structs.replace(entry, chain=chain_of(self._chain(), entry)))
        self._versions[event.subject] = entry.seq

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored."""
        with self._changed:
            held = max(0, after - self._gone)
            found = self._entries[held : held + count]
            following = self._entries[0] if self._entries and 0 <= after < self._gone else None
        if following is None or self.sealed is None:
            return found
        with sealed_reads(following.seq, lambda: self._sealed_last(following.seq), "log"):
            return [*self.sealed.before(following, after, count), *found][:count]

    def _sealed_last(self, held: int) -> Event | None:
        version = self.version(SEGMENTS)
        return self.event(version) if version >= held else None

    def first(self) -> int:
        """The first position that is held in memory, 0 for an empty log."""
        with self._changed:
            return self._gone + 1 if self._entries else 0

    def trim(self, first: int) -> None:
        """Delete all entries before position `first`."""
        with self._changed:
            count = max(0, min(first, self._last()) - 1 - self._gone)
            del self._entries[:count]
            self._gone += count

    def load(self, parts: Iterable[Sequence[Entry]]) -> Head:
        """Fill the empty log with the entries of another one."""
        succession, entries = Succession(), list[Entry]()
        for entry in (entry for part in parts for entry in part):
            succession.add(entry)
            entries.append(entry)
        head = succession.end()
        with self._changed:
            if self._last():
                raise log_not_empty()
            self._entries, self._at, self._floor = entries, head.at, head.floor
            self._versions = {subject.decode(): seq for subject, seq in succession.versions.items()}
            self._changed.notify_all()
        return head

    def mend(self) -> str:
        """Nothing to repair: a memory store loses nothing."""
        return ""

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`."""
        return [event_of(entry) for entry in self.entries(after, count)]

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists."""
        for start in range(after, upto, chunk):
            events = self.read(start, min(chunk, upto - start))
            if events:
                yield events

    def event(self, seq: int) -> Event | None:
        """The event at a position, None where there is none."""
        return next(iter(self.read(seq - 1, 1)), None) if seq > 0 else None

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but waits up to block_ms for the first one."""
        until = time.monotonic() + block_ms / 1000
        with self._changed:
            woken = self._woken
            while self._last() <= after and self._woken == woken:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._last() < after:
                raise LineageBroken(f"the log ends before {after}, which was known")
            return self.read(after, count)

    def cursor_get(self, group: str) -> int | None:
        """The position of a durable group, None for a new one."""
        with self._changed:
            return self._cursors.get(group)

    def cursor_set(self, group: str, seq: int) -> None:
        """Set the position of a durable group."""
        with self._changed:
            self._cursors[group] = seq

    def wake(self) -> None:
        """End all blocking calls."""
        with self._changed:
            self._woken += 1
            self._work.wake()
            self._changed.notify_all()

    def version(self, subject: str) -> int:
        """The version of a subject."""
        with self._changed:
            return self._versions.get(subject, self._floor)

    def versions(self, subjects: Sequence[str] | None = None) -> dict[str, int]:
        """The versions of all or some subjects, and the floor."""
        with self._changed:
            horizon = {HORIZON: self._horizon} if self._horizon else {}
            held = {FLOOR: self._floor, **horizon, **self._versions} if self._entries else {}
            if subjects is None:
                return held
            return {name: held[name] for name in (FLOOR, *subjects) if name in held}

    def forget(self, versions: Mapping[str, int], horizon: int) -> int:
        """Forget versions that have not changed, and raise the horizon."""
        with self._changed:
            if not self._entries:
                return 0
            self._horizon = max(self._horizon, horizon)
            gone = [subject for subject, version in versions.items() if self._versions.get(subject) == version]
            for subject in gone:
                del self._versions[subject]
            return len(gone)

    def memory_bytes(self) -> int:
        """Bytes that the entries use, about."""
        with self._changed:
            return sum(200 + len(entry.data) for entry in self._entries)

    def erase(self) -> int:
        """Delete everything; returns how many keys a server would have had."""
        keys = (2 if self._entries else 0) + bool(self._cursors)
        self._entries.clear()
        self._cursors.clear()
        self._versions.clear()
        self._at = self._floor = self._gone = self._horizon = 0
        return keys
