"""The report of a daemon's start to whoever starts it: a pipe, as its log may lie on the very disk that is full."""

from __future__ import annotations

import os
from contextlib import suppress

VARIABLE = "MAESTRO_START_REPORT"
BYTES_MAX = 65536


class StartReport:
    """The daemon's end: one line where it cannot begin, nothing where it can."""

    def __init__(self) -> None:
        """Takes the descriptor out of the environment, so that nothing that is started here has either."""
        descriptor = os.environ.pop(VARIABLE, "")
        self._descriptor = int(descriptor) if descriptor.isdigit() else -1
        with suppress(OSError):
            if self._descriptor >= 0:
                os.set_inheritable(self._descriptor, False)

    def fail(self, line: str) -> None:
        """Why it ends."""
        with suppress(OSError):
            if self._descriptor >= 0:
                os.write(self._descriptor, line.encode("utf-8", "backslashreplace")[: BYTES_MAX // 2])
        self.done()

    def done(self) -> None:
        """It has begun, and what it says from now on stands in its log."""
        with suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)
        self._descriptor = -1


def read(descriptor: int) -> str:
    """What a daemon that has ended had to say; "" for nothing. Never waits."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, BYTES_MAX).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""
