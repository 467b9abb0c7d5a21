"""The start report of a daemon: a pipe to the command that starts it, as the daemon's log may lie on a full disk."""

from __future__ import annotations

import os
from contextlib import suppress

VARIABLE = "MAESTRO_START_REPORT"
BYTES_MAX = 65536


class StartReport:
    """The daemon's end of the pipe. It says one line where the daemon cannot begin, nothing where it can."""

    def __init__(self) -> None:
        """Take the descriptor out of the environment, so that no program that is started here has it."""
        descriptor = os.environ.pop(VARIABLE, "")
        self._descriptor = int(descriptor) if descriptor.isdigit() else -1
        with suppress(OSError):
            if self._descriptor >= 0:
                os.set_inheritable(self._descriptor, False)

    def fail(self, line: str) -> None:
        """Say why the daemon ends, and close the pipe."""
        with suppress(OSError):
            if self._descriptor >= 0:
                os.write(self._descriptor, line.encode("utf-8", "backslashreplace")[: BYTES_MAX // 2])
        self.done()

    def done(self) -> None:
        """Close the pipe: the daemon has begun, and logs from now on."""
        with suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)
        self._descriptor = -1


def read(descriptor: int) -> str:
    """The line that a daemon has said through the pipe; "" for none. Never waits."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, BYTES_MAX).decode("utf-8", "replace").strip()
    except BlockingIOError:
        return ""
