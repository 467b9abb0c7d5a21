"""The terminal while the screen has it: its other screen, keys unechoed, and all of it given back, however that ends.

Only what differs is written (`patches.py`), in one write, between the marks with which a terminal shows a frame at
once; those that do not know these ignore them. Nothing wraps: what is wider than it should be is cut by the terminal.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
import termios
import threading
from contextlib import suppress
from typing import Any

from maestro.cli.monitoring.patches import patch

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
TOLD_BYTES_MAX = 64 * 1024
LEAVE_S_MAX = 1.0
"""So long a write that is under way is waited for before the terminal is given back."""


class Terminal:
    """The terminal of this process, by its descriptors. keys: None where standard input is none."""

    def __init__(self) -> None:
        self.out = sys.stdout.fileno()
        self.keys = 0 if os.isatty(0) else None
        self.encoding = sys.stdout.encoding or "ascii"
        self._before: list[Any] | None = None
        self._shown: list[str] = []
        self._width = 0
        self._entered = False
        self._told: tuple[int, Any] | None = None
        self._writing = threading.Lock()

    def size(self) -> tuple[int, int]:
        """Columns and lines now; 80 and 24 where the terminal does not say."""
        with suppress(OSError):
            found = os.get_terminal_size(self.out)
            if found.columns > 0 and found.lines > 0:
                return found.columns, found.lines
        return 80, 24

    def enter(self) -> None:
        """Take the terminal over. What this process tells on stderr meanwhile is kept."""
        if self.keys is not None:
            self._before = termios.tcgetattr(self.keys)
            taken = termios.tcgetattr(self.keys)
            taken[0] &= ~(termios.IXON | termios.ICRNL)  # Ctrl-S would hold the output, and with it this process
            taken[3] &= ~(termios.ICANON | termios.ECHO)
            taken[6][termios.VMIN], taken[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self.keys, termios.TCSANOW, taken)
        self._entered = True
        self._keep_stderr()
        self._shown, self._width = [], 0
        self._write(ENTER.encode())

    def leave(self) -> None:
        """Give the terminal back as it was, and tell what was kept. Also where it has hung up, and a second time."""
        if not self._entered:
            return
        self._entered = False
        with suppress(OSError, termios.error):
            if self.keys is not None:
                termios.tcflow(self.out, termios.TCOON)
                termios.tcflush(self.keys, termios.TCIFLUSH)
        alone = self._writing.acquire(timeout=LEAVE_S_MAX)
        _write_or_leave(self.out, LEAVE.encode())
        if alone:
            self._writing.release()
        with suppress(OSError, termios.error):
            if self.keys is not None and self._before is not None:
                termios.tcsetattr(self.keys, termios.TCSANOW, self._before)
        self._tell_kept()

    def drawn(self, lines: list[str], width: int) -> bytes:
        """What to write so that the terminal shows these lines, which it is taken to have shown then; b"" for nothing.

        width: of the terminal; with another one than before, all is drawn anew.
        """
        anew = width != self._width or len(lines) != len(self._shown)
        text = "\x1b[2J" if anew else ""
        for at, line in enumerate(lines):
            if anew:
                text += f"\x1b[{at + 1};1H{line}" if line else ""
            elif line != self._shown[at]:
                change = patch(self._shown[at], line, width)
                text += f"\x1b[{at + 1};{change.column}H{change.text}"
        self._shown, self._width = lines, width
        return f"{BEGIN}{text}{END}".encode(self.encoding, "replace") if text else b""

    def forget(self) -> None:
        """Have all drawn anew: something else has written to the terminal, or its size has changed."""
        self._width = 0

    def write(self, data: bytes) -> None:
        """Write all of it, unless the terminal was given back. Blocks while that takes nothing. Raises OSError where it
        has hung up.
        """
        with self._writing:
            if self._entered:
                self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.out, data) :]

    def _keep_stderr(self) -> None:
        """Have what is written to stderr kept, where that is a terminal: it would stand in the middle of the screen."""
        if os.isatty(2):
            kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `_tell_kept`
            self._told = os.dup(2), kept
            os.dup2(kept.fileno(), 2)

    def _tell_kept(self) -> None:
        if self._told is None:
            return
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        stderr, kept = self._told
        self._told = None
        os.dup2(stderr, 2)
        os.close(stderr)
        with kept, suppress(OSError):
            kept.seek(max(0, os.fstat(kept.fileno()).st_size - TOLD_BYTES_MAX))
            _write_or_leave(2, kept.read())


def _write_or_leave(descriptor: int, data: bytes) -> None:
    """Write to a terminal, unless it takes nothing: then it is not waited for, nor where another write hangs in it."""
    with suppress(OSError):
        os.set_blocking(descriptor, False)
        while data and select.select([], [descriptor], [], LEAVE_S_MAX)[1]:
            data = data[os.write(descriptor, data) :]
    with suppress(OSError):
        os.set_blocking(descriptor, True)
