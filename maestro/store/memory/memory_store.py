"""The store in memory: the reference implementation of the contract, and a real store for a single process.

It holds what a server would hold, encoded in the same way, behind one lock; blocking calls wait on its condition. Tests
and throw-away namespaces use it.
"""

from __future__ import annotations

import os
import time
from threading import Condition

from maestro.store.keys import Keys
from maestro.store.memory.log import MemoryLog
from maestro.store.memory.views import MemoryBlobs, MemoryViews
from maestro.store.memory.work import MemoryWork
from maestro.store.sealed import Sealed


class Clock:
    """The server time of a memory store: starts at the system's time and never goes back."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000


class MemoryStore:
    """`Store` in memory. clock: of its server."""

    cooperative = False

    def __init__(self, namespace: str, clock: Clock | None = None) -> None:
        Keys(namespace)
        self.namespace = namespace
        self._clock = clock or Clock()
        self._changed = Condition()
        self._start()

    def _start(self) -> None:
        self.work = MemoryWork(self._changed, self._clock.now)
        self.log = MemoryLog(self._changed, self._clock.now, self.work)
        self.views = MemoryViews(self._changed)
        self.blobs = MemoryBlobs(self._changed, self._clock.now)

    def attach(self, sealed: Sealed) -> None:
        """Read trimmed events, and blobs that only those name, from `sealed`."""
        self.log.sealed = self.blobs.sealed = sealed

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._clock.now()

    def describe(self) -> dict[str, str]:
        """The facts that `Store.describe` gives, for this process."""
        return {"server": "memory", "place": f"memory of process {os.getpid()}"}

    def erase(self) -> int:
        """Delete everything; returns how many keys a server would have had."""
        with self._changed:
            parts = (self.log, self.work, self.views, self.blobs)
            return sum(part.erase() for part in parts)

    def memory_bytes(self) -> int:
        """Bytes that the entries of the log use, about."""
        return self.log.memory_bytes()

    def close(self) -> None:
        """End blocking calls."""
        self.log.wake()
