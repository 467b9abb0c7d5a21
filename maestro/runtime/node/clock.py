"""Server time without asking the server each time: an offset to the monotonic clock, measured now and then."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Server time in ms. A local clock that jumps does not move it; `measure` corrects the drift."""

    def __init__(self) -> None:
        self._offset_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000

    def measure(self, server_now: Callable[[], int]) -> None:
        """Ask the server; half the round trip is taken off."""
        before = time.monotonic_ns()
        server = server_now()
        middle = (before + time.monotonic_ns()) // 2
        self._offset_ms = server - middle // 1_000_000

    def now(self) -> int:
        """Server time in ms, as far as known."""
        return time.monotonic_ns() // 1_000_000 + self._offset_ms
