"""The time of the store's server, without asking it each time: an offset to the monotonic clock, measured at times.

And the second in which a daemon looks at what it looks at each second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import trio


class Clock:
    """The time of the store's server in ms. A local clock that jumps does not move it; `measure` corrects its drift."""

    def __init__(self) -> None:
        self._offset_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000

    def measure(self, server_now: Callable[[], int]) -> None:
        """Measure the offset. server_now: asks the server for its time in ms; half of the round trip is taken off."""
        before = time.monotonic_ns()
        server = server_now()
        middle = (before + time.monotonic_ns()) // 2
        self._offset_ms = server - middle // 1_000_000

    def now(self) -> int:
        """The server's time in ms, as of the last measurement; before the first one this machine's."""
        return time.monotonic_ns() // 1_000_000 + self._offset_ms


async def next_second() -> None:
    """Sleep until this process's next second begins: all that look once a second are woken together, as what an idle
    daemon costs is mostly that it is woken. The seconds of two processes begin at different times.
    """
    await trio.sleep_until(math.floor(trio.current_time()) + 1)
