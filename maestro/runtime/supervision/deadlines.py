"""When a run must end: its timeout, the grace after a stop, the fence. Stdlib only.

Timeouts are intervals of the monotonic clock and stand still while the run is frozen. The fence is the one clock that
goes on while the machine sleeps: on waking, another node may have taken the workspace.
"""

from __future__ import annotations

import time

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timing:
    """Asked for `due()` whenever the warden wakes; `wait_s()` says when to wake at the latest."""

    def __init__(self) -> None:
        self._timeout_at: float | None = None
        self._kill_at: float | None = None
        self._frozen_at: float | None = None
        self._fence_s: float | None = None
        self._silent_s: float | None = None
        self._heard_at = 0.0
        self._pinged_at = time.clock_gettime(_BOOTTIME)

    def start(self, timeout_s: float | None, fence_s: float | None, silent_s: float | None = None) -> None:
        """The agent's program runs from now on."""
        self._timeout_at = None if timeout_s is None else time.monotonic() + timeout_s
        self._fence_s = fence_s
        self._silent_s = silent_s
        self.heard()
        self.ping()

    def heard(self) -> None:
        """The agent has printed something."""
        self._heard_at = time.monotonic()

    def stop(self, grace_s: float) -> None:
        """It was asked to end: kill it after the grace; a later stop may only shorten it."""
        kill_at = time.monotonic() + grace_s
        self._timeout_at = self._silent_s = None
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)

    @property
    def stopping(self) -> bool:
        return self._kill_at is not None

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def freeze(self) -> None:
        if self._frozen_at is None:
            self._frozen_at = time.monotonic()

    def thaw(self) -> None:
        if self._frozen_at is not None:
            frozen_s = time.monotonic() - self._frozen_at
            self._heard_at += frozen_s
            if self._timeout_at is not None:
                self._timeout_at += frozen_s
        self._frozen_at = None

    def ping(self) -> None:
        """The worker is there."""
        self._pinged_at = time.clock_gettime(_BOOTTIME)

    def due(self) -> str:
        """`kill`, `fence`, `timeout`, `silence`, or "" while there is time."""
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            return "kill"
        if self._fence_s is not None and time.clock_gettime(_BOOTTIME) - self._pinged_at > self._fence_s:
            return "fence"
        if self._timeout_at is not None and self._frozen_at is None and now >= self._timeout_at:
            return "timeout"
        if self._silent_s is not None and self._frozen_at is None and now >= self._heard_at + self._silent_s:
            return "silence"
        return ""

    def wait_s(self, at_most: float) -> float:
        """How long nothing can be due. A fence is looked at often, for waiting stands still with the machine."""
        now = time.monotonic()
        waits = [at_most]
        if self._kill_at is not None:
            waits.append(self._kill_at - now)
        if self._timeout_at is not None and self._frozen_at is None:
            waits.append(self._timeout_at - now)
        if self._silent_s is not None and self._frozen_at is None:
            waits.append(self._heard_at + self._silent_s - now)
        if self._fence_s is not None:
            waits.append(self._fence_s / 4)
        return max(0.0, min(waits))
