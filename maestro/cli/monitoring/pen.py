"""The pen that draws a line of the screen: strangers' texts made safe, cut to columns, styled where that is wanted."""

from __future__ import annotations

import re
from typing import NamedTuple

from rich.cells import cell_len

from maestro.cli.escape import escaped
from maestro.cli.live_layout import cut

STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "chosen": "7", "alarm": "1;31"
}  # fmt: skip


_JOINING = re.compile("[\u00ad\u200b-\u200d\u2060\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0000-\U000e01ef]")
"""What makes one sign of several, of which each terminal has another width."""
CHARS_MAX_A_CELL = 8
"""So many characters are looked at for each column: a line of output may be as long as a log."""


class Piece(NamedTuple):
    """A part of a line. width: of its column, 0 for what it needs; right: it stands at the right of its column."""

    text: str
    style: str = ""
    width: int = 0
    right: bool = False


class Pen(NamedTuple):
    """How a terminal wants to be drawn on."""

    width: int
    styled: bool = False
    ascii: bool = False

    def line(self, *pieces: Piece | str, style: str = "") -> str:
        """A line of pieces, at most as wide as the terminal. style: of all of it, over those of the pieces."""
        room, drawn = self.width, ""
        for piece in pieces:
            text, own, width, right = piece if isinstance(piece, Piece) else Piece(piece)
            if room <= 0:
                break
            shown = cut(safe(text[: CHARS_MAX_A_CELL * room]), min(width or room, room))
            pad = " " * max(0, min(width, room) - cell_len(shown))
            room -= cell_len(shown) + len(pad)
            styled = self.styled_text(shown, "" if style else own)
            drawn += pad + styled if right else styled + pad
        return self.styled_text(drawn.rstrip(), style)

    def styled_text(self, text: str, style: str) -> str:
        """The text in a style, where styles are wanted."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.styled and style and text.strip() else text

    def mark(self, fancy: str, plain: str) -> str:
        """A sign, or what stands for it where the terminal knows no more than ASCII."""
        return plain if self.ascii else fancy


def safe(text: str) -> str:
    """A text of which nothing acts on the terminal, and of which all agree how wide it is."""
    return text if text.isascii() and text.isprintable() else escaped(_JOINING.sub("", text))
