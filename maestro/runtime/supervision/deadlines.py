"""When a run must end: at its timeout, after a silence, or after the grace of a stop. Standard library only.

All three are intervals of the monotonic clock. Timeout and silence stand still while the run is frozen.
"""

from __future__ import annotations

import time


class Deadlines:
    """The deadlines of one run, kept by its warden: `due()` says which has passed, `wait_s()` when to look again."""

    def __init__(self) -> None:
        self._timeout_at: float | None = None
        self._kill_at: float | None = None
        self._frozen_at: float | None = None
        self._silent_s: float | None = None
        self._heard_at = 0.0

    def start(self, timeout_s: float | None, silent_s: float | None = None) -> None:
        """Count from now: the agent's program has been started.

        timeout_s: how long it may run; silent_s: how long it may print nothing; None: for ever.
        """
        self._timeout_at = None if timeout_s is None else time.monotonic() + timeout_s
        self._silent_s = silent_s
        self.heard()

    def heard(self) -> None:
        """Count the silence from now: the agent has printed something."""
        self._heard_at = time.monotonic()

    def stop(self, grace_s: float) -> None:
        """Make the run's kill due in `grace_s` seconds: it was asked to end. A later stop may only shorten that."""
        kill_at = time.monotonic() + grace_s
        self._timeout_at = self._silent_s = None
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end."""
        return self._kill_at is not None

    @property
    def frozen(self) -> bool:
        """Whether timeout and silence stand still."""
        return self._frozen_at is not None

    def freeze(self) -> None:
        """Have timeout and silence stand still until `thaw`."""
        if self._frozen_at is None:
            self._frozen_at = time.monotonic()

    def thaw(self) -> None:
        """Let timeout and silence go on with what was left of them at `freeze`."""
        if self._frozen_at is not None:
            frozen_s = time.monotonic() - self._frozen_at
            self._heard_at += frozen_s
            if self._timeout_at is not None:
                self._timeout_at += frozen_s
        self._frozen_at = None

    def due(self) -> str:
        """Which deadline has passed: `kill`, `timeout` or `silence`; "" for none."""
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            return "kill"
        if self._timeout_at is not None and self._frozen_at is None and now >= self._timeout_at:
            return "timeout"
        if self._silent_s is not None and self._frozen_at is None and now >= self._heard_at + self._silent_s:
            return "silence"
        return ""

    def wait_s(self, at_most: float) -> float:
        """For how many seconds, `at_most` at the most, no deadline can pass."""
        now = time.monotonic()
        waits = [at_most]
        if self._kill_at is not None:
            waits.append(self._kill_at - now)
        if self._timeout_at is not None and self._frozen_at is None:
            waits.append(self._timeout_at - now)
        if self._silent_s is not None and self._frozen_at is None:
            waits.append(self._heard_at + self._silent_s - now)
        return max(0.0, min(waits))
