"""A part of a terminal that changes: only lines that differ are written, in one write, and the cursor stays visible.

Lines above it scroll away as usual. The cursor stands below the last line, so that whatever is printed next, also by
a shell after the process was killed, stands there.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TextIO

from rich.cells import cell_len

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """The lines that are drawn last on a terminal. `size` tells its width and height, which may change."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines: list[str] = []
        self._width = 0

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now; 80 and 24 where it does not say."""
        try:
            found = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return 80, 24
        return found.columns or 80, found.lines or 24

    def draw(self, lines: list[str], width: int) -> None:
        """Show these lines instead of the last ones. Each fits into one less than `width`, so that none is wrapped."""
        if width != self._width:
            self.erase()
            self._width = width
        self._write(changes(self._lines, lines))
        self._lines = lines

    def erase(self) -> None:
        """Take all lines away: something else is printed in their place, or the terminal has another width."""
        if self._lines:
            width = self.size()[0]
            rows = sum(max(1, -(-cell_len(_STYLE.sub("", line)) // width)) for line in self._lines)
            self._write(f"\x1b[{rows}A\r\x1b[J")
            self._lines = []

    def leave(self) -> None:
        """Let the lines stand as they are: what follows is printed below them."""
        self._lines = []

    def _write(self, text: str) -> None:
        if text:
            with suppress(OSError):
                self._out.write(text)
                self._out.flush()


def changes(before: list[str], after: list[str]) -> str:
    """What to write so that a terminal shows `after` where it shows `before`, the cursor below; "" for nothing."""
    if before == after:
        return ""
    same = next((at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), None)
    first = min(len(before), len(after)) if same is None else same
    text = f"\x1b[{len(before) - first}A\r" if len(before) > first else ""
    passed = 0
    for at in range(first, len(after)):
        if at < len(before) and before[at] == after[at]:
            passed += 1
            continue
        text += _down(passed) + after[at] + "\x1b[K\n"
        passed = 0
    return text + _down(passed) + ("\x1b[J" if len(before) > len(after) else "")


def _down(lines: int) -> str:
    return f"\x1b[{lines}B" if lines else ""
