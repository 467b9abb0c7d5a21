"""A terminal as it looks to a person: what is on its screen after some output, scrolled lines included."""

from __future__ import annotations

import re

from rich.cells import cell_len

_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[[0-9;]*m|\r|\n|[^\x1b\r\n]+")


class Terminal:
    """Understands what a line-drawing program needs; fails on any other sequence. rows: all lines ever shown."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.width, self.height = width, height
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.cells_written = 0

    def feed(self, text: str) -> Terminal:
        """Take output; \\n moves to the beginning of the next line, as a terminal's driver has it."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")
        at = 0
        while at < len(text):
            found = _PIECE.match(text, at)
            assert found is not None, f"what is {text[at : at + 20]!r}?"
            at = found.end()
            if found[2]:
                self._control(found[2], int(found[1] or 1))
            elif found[0] == "\r":
                self.column = 0
            elif found[0] == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.rows):
                    self.rows.append("")
            else:
                self._write(found[0])
        return self

    def _control(self, kind: str, count: int) -> None:
        top = max(0, len(self.rows) - self.height)
        match kind:
            case "A":
                self.row = max(top, self.row - count)
            case "B":
                self.row = min(len(self.rows) - 1, self.row + count)
            case "K":
                self.rows[self.row] = self.rows[self.row][: self.column]
            case "J":
                self.rows[self.row] = self.rows[self.row][: self.column]
                del self.rows[self.row + 1 :]
            case _:
                raise AssertionError(f"what is {kind}?")

    def _write(self, text: str) -> None:
        self.cells_written += len(text)
        for char in text:
            if cell_len(self.rows[self.row][: self.column]) >= self.width:
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.rows):
                    self.rows.append("")
            line = self.rows[self.row]
            self.rows[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    def shown(self) -> list[str]:
        """The lines, without the empty one in which the cursor stands."""
        return [row.rstrip() for row in self.rows if row.strip()]
