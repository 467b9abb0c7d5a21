"""Work hints, leases and samples in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Condition

import msgspec

from maestro.store.contract import Hint, WorkEntry


class _Item(msgspec.Struct):
    """A hint on a stream. owner: the node that claimed it, "" before."""

    entry: WorkEntry
    owner: str = ""


class MemoryWork:
    """`WorkStore` in memory."""

    def __init__(self, changed: Condition, now: Callable[[], int]) -> None:
        self._changed = changed
        self._now = now
        self._streams: dict[str, list[_Item]] = {}
        self._numbers = 0
        self._leases: dict[str, tuple[str, int]] = {}
        self._samples: dict[str, tuple[dict[str, str], int]] = {}
        self._woken = 0

    def put(self, hints: Sequence[Hint]) -> None:
        """Put hints on their streams, each with its token."""
        with self._changed:
            for hint in hints:
                self._numbers += 1
                entry = WorkEntry(hint.stream, f"{self._numbers}-0", hint.run, hint.token)
                self._streams.setdefault(hint.stream, []).append(_Item(entry))
            self._changed.notify_all()

    def claim(self, node: str, count: int, block_ms: int, shared: bool = True) -> list[WorkEntry]:
        """Claim up to `count` new entries: of the node's stream first, then of the shared one."""
        until = time.monotonic() + block_ms / 1000
        with self._changed:
            woken = self._woken
            while True:
                items = [
                    item for stream in ([node, ""] if shared else [node]) for item in self._streams.get(stream, [])
                ]
                free = [item for item in items if not item.owner][:count]
                left = until - time.monotonic()
                if free or left <= 0 or self._woken != woken:
                    break
                self._changed.wait(left)
            for item in free:
                item.owner = node
            return [item.entry for item in free]

    def wake(self) -> None:
        """End blocking claims."""
        self._woken += 1

    def done(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge and delete entries."""
        with self._changed:
            for done in entries:
                items = self._streams.get(done.stream, [])
                items[:] = [item for item in items if item.entry.entry != done.entry]

    def put_back(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge entries, and put their hints again."""
        with self._changed:
            self.done(entries)
            self.put([Hint(entry.stream, entry.run, -1, entry.token) for entry in entries])

    def pending(self, stream: str) -> list[tuple[str, str, int]]:
        """All hints on a stream: (run, node that claimed it or "", token)."""
        with self._changed:
            return [(item.entry.run, item.owner, item.entry.token) for item in self._streams.get(stream, [])]

    def lease_take(self, lease: str, holder: str, ttl_ms: int) -> bool:
        """Take or renew a lease."""
        with self._changed:
            if self.lease_holder(lease, ttl_ms) not in (None, holder):
                return False
            self._leases[lease] = (holder, self._now() + max(1, ttl_ms))
            return True

    def lease_drop(self, lease: str, holder: str) -> None:
        """Give up a lease, if `holder` holds it."""
        with self._changed:
            if self.lease_holder(lease) == holder:
                del self._leases[lease]

    def lease_holder(self, lease: str, ttl_ms: int = 0) -> str | None:
        """The current holder of a lease, None where nobody holds it."""
        with self._changed:
            holder, until = self._leases.get(lease, ("", 0))
            if ttl_ms and until > self._now() + ttl_ms:
                self._leases[lease] = (holder, self._now() + ttl_ms)
            return holder if until > self._now() else None

    def lease_holders(self, leases: Sequence[str], ttl_ms: int = 0) -> list[str | None]:
        """The current holders of leases, None for each that nobody holds."""
        return [self.lease_holder(lease, ttl_ms) for lease in leases]

    def samples_put(self, values: Mapping[str, Mapping[str, str]], ttl_ms: int) -> None:
        """Store heartbeats by key; their field `at` is the server time in ms."""
        with self._changed:
            now = self._now()
            for key, value in values.items():
                self._samples[key] = ({**value, "at": str(now)}, now + ttl_ms)

    def samples(self, keys: Sequence[str]) -> list[dict[str, str] | None]:
        """Heartbeats by key, None for one that does not exist or has expired."""
        with self._changed:
            now = self._now()
            found = (self._samples.get(key) for key in keys)
            return [dict(item[0]) if item and item[1] > now else None for item in found]

    def erase(self) -> int:
        """Delete everything; returns how many keys a server would have had."""
        keys = len(self._streams) + len(self._leases) + len(self._samples)
        self._streams.clear()
        self._leases.clear()
        self._samples.clear()
        return keys
