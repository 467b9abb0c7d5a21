"""The log in memory: the append script's rules in Python, statement for statement (append.lua)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Condition

import msgspec

from maestro.model.errors import LineageBroken
from maestro.model.events import Event
from maestro.store.codec import Encoded, chain_of, encode_append, event_of
from maestro.store.contract import Append, AppendResult, Committed, Entry, Fence, Head, Hint, Rejected
from maestro.store.memory_work import MemoryWork


class MemoryLog:
    """`LogStore` in memory. Entry `seq` is `self._entries[seq - 1]`."""

    def __init__(self, changed: Condition, now: Callable[[], int], work: MemoryWork) -> None:
        self._changed = changed
        self._now = now
        self._work = work
        self._entries: list[Entry] = []
        self._versions: dict[str, int] = {}
        self._at = 0
        self._floor = 0
        self._woken = 0
        self._cursors: dict[str, int] = {}

    def head(self) -> Head:
        """The end of the log."""
        with self._changed:
            return Head(len(self._entries), self._chain(), self._at, self._floor)

    def known(self) -> Head:
        """The newest head seen: a memory store loses nothing."""
        return self.head()

    def _chain(self) -> str:
        return self._entries[-1].chain if self._entries else ""

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group, each on its own terms."""
        with self._changed:
            if known:
                self._check_lineage(known)
            start = len(self._entries)
            self._at = max(self._at, self._now()) if group else self._at
            results = [self._append(append, known.seq if known and known.seq else start, start) for append in group]
            if len(self._entries) > start:
                self._changed.notify_all()
            return results

    def _check_lineage(self, known: Head) -> None:
        if known.seq > len(self._entries):
            raise LineageBroken(f"the log ends at {len(self._entries)}, before position {known.seq}")
        if known.seq and self._entries[known.seq - 1].chain != known.chain:
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
        first = len(self._entries) + 1
        for event in encoded:
            self._write(append, event)
        if append.floors:
            self._versions.clear()
            self._floor = len(self._entries)
        for hint in append.hints:
            token = first + hint.event if hint.event >= 0 else hint.token
            self._work.put([Hint(hint.stream, hint.run, -1, token)])
        return Committed(first, len(self._entries), self._at)

    def _check(self, append: Append, event: Encoded, at: tuple[int, int, int]) -> Committed | Rejected | None:
        """The result that this event settles for its append, if any."""
        index, since, start = at
        actual = self._versions.get(event.subject, self._floor)
        expected = int(event.expected) if event.expected else None
        if expected is not None and expected != actual:
            after = max(expected, since) if append.resend else expected
            found = self._seen(append, event, after, start, append.resend)
            if not found:
                return Rejected("version", event.subject, expected, actual)
        elif index == 0 and expected is None and start > since:
            found = self._seen(append, event, since, start, True)
        else:
            return None
        if not found:
            return None
        first = found.seq - index
        return Committed(first, first + len(append.events) - 1, found.at, duplicate=True)

    def _seen(self, append: Append, event: Encoded, after: int, start: int, scan: bool) -> Entry | None:
        """Where an earlier try appended it, behind `after`."""

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
            entry = self._entries[version - 1]
            if entry.subject != event.subject.encode():
                break
            if version <= start and same(entry):
                return entry
            version = entry.prev
        if scan and self._floor > after:
            return next(filter(same, self._entries[after:start]), None)
        return None

    def _holds(self, fence: Fence) -> bool:
        return self._work.lease_holder(fence.lease) == fence.holder

    def _write(self, append: Append, event: Encoded) -> None:
        entry = Entry(
            len(self._entries) + 1,
            event.type.encode(),
            event.subject.encode(),
            self._at,
            append.actor.encode(),
            append.cause.encode(),
            self._versions.get(event.subject, self._floor),
            event.v.encode(),
            event.data.encode(),
            "",
        )
        self._entries.append(msgspec.structs.replace(entry, chain=chain_of(self._chain(), entry)))
        self._versions[event.subject] = entry.seq

    def entries(self, after: int, count: int) -> list[Entry]:
        """Entries as stored."""
        with self._changed:
            return self._entries[after : after + count]

    def read(self, after: int, count: int) -> list[Event]:
        """Events behind `after`."""
        return [event_of(entry) for entry in self.entries(after, count)]

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists."""
        for start in range(after, upto, chunk):
            events = self.read(start, min(chunk, upto - start))
            if events:
                yield events

    def event(self, seq: int) -> Event | None:
        """One event."""
        return next(iter(self.read(seq - 1, 1)), None) if seq > 0 else None

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but waits up to block_ms for the first one."""
        until = time.monotonic() + block_ms / 1000
        with self._changed:
            woken = self._woken
            while len(self._entries) <= after and self._woken == woken:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if len(self._entries) < after:
                raise LineageBroken(f"the log ends before {after}, which was known")
            return self.read(after, count)

    def cursor_get(self, group: str) -> int | None:
        """The group's position, None for a new one."""
        with self._changed:
            return self._cursors.get(group)

    def cursor_set(self, group: str, seq: int) -> None:
        """Move the group."""
        with self._changed:
            self._cursors[group] = seq

    def wake(self) -> None:
        """End all blocking calls."""
        with self._changed:
            self._woken += 1
            self._work.wake()
            self._changed.notify_all()

    def version(self, subject: str) -> int:
        """The subject's version."""
        with self._changed:
            return self._versions.get(subject, self._floor)

    def memory_bytes(self) -> int:
        """About."""
        with self._changed:
            return sum(200 + len(entry.data) for entry in self._entries)

    def erase(self) -> int:
        """Forget everything; how many keys a server would have had."""
        keys = (2 if self._entries else 0) + bool(self._cursors)
        self._entries.clear()
        self._cursors.clear()
        self._versions.clear()
        self._at = self._floor = 0
        return keys
