"""Tables that fit: which columns a terminal has room for, how wide each is, and the lines that are drawn.

Where the room is short, columns are left out: first those that say nothing in any row, then in the order that their
table states (`Column.leaves`). Then long cells share what is left: they are broken into lines, or cut with `…`, as
their table has it, never both. Nothing here knows of terminals: a width of 0 is room without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from maestro.cli.column import UNSET, Column

GAP = "  "
CUT = "…"
LONG_WIDTH_MIN = 16
"""So many columns of the terminal a long cell keeps; before it gets fewer, a column is left out."""
TIGHT_WIDTH_MIN = 6
"""So many it keeps where no column can be left out any more; before it gets fewer, an id is cut."""


class Fitted(NamedTuple):
    """A table as it is drawn. left_out: titles of the columns that there was no room for, in the order they left."""

    header: str
    lines: list[str]
    left_out: list[str]


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Fitted:
    """Draw rows of cells, one for each column. width: of the terminal, 0 for room without end."""
    natural = [max(map(cell_len, (column.title, *(row[at] for row in rows)))) for at, column in enumerate(columns)]
    kept, left_out = list(range(len(columns))), []
    says = [any(row[at] != UNSET for row in rows) for at in range(len(columns))]
    for at in sorted(kept, key=lambda at: (says[at], columns[at].leaves)):
        if columns[at].leaves and 0 < width < _least(columns, natural, kept):
            kept.remove(at)
            if says[at]:
                left_out.append(columns[at].title)
    floors = [[_floor(columns[at], natural[at], least) for at in kept] for least in (LONG_WIDTH_MIN, TIGHT_WIDTH_MIN)]
    widths = _widths([natural[at] for at in kept], floors, width)
    wraps = any(column.wraps for column in columns)
    lines: list[str] = []
    for row in rows:
        cells = [
            _broken(row[at], room) if wraps else [_cut(row[at], room, columns[at].cuts)]
            for at, room in zip(kept, widths, strict=True)
        ]
        lines.extend(_joined(line, widths) for line in zip(*_padded(cells), strict=True))
    titles = [_cut(columns[at].title, room, "end") for at, room in zip(kept, widths, strict=True)]
    return Fitted(_joined(titles, widths), lines, left_out)


def _floor(column: Column, natural: int, least: int = LONG_WIDTH_MIN) -> int:
    return min(natural, max(least, len(column.title))) if column.wraps or column.cuts else natural


def _least(columns: Sequence[Column], natural: Sequence[int], kept: Sequence[int]) -> int:
    return sum(_floor(columns[at], natural[at]) for at in kept) + len(GAP) * (len(kept) - 1)


def _widths(natural: list[int], floors: list[list[int]], width: int) -> list[int]:
    """The width of each column: what it needs, where there is room; of what is short, the widest give first.

    floors: down to which they give, the first choice first. Where all are too wide (an id as long as the line), every
    column gives, down to one column of the terminal.
    """
    room = width - len(GAP) * (len(natural) - 1)
    if width <= 0 or sum(natural) <= room:
        return natural
    least = next((choice for choice in floors if sum(choice) <= room), [1] * len(natural))
    widths, excess = list(natural), sum(natural) - max(room, len(natural))
    while excess > 0:
        widest = max((at for at in range(len(widths)) if widths[at] > least[at]), key=widths.__getitem__)
        lower = sorted({widths[at] for at in range(len(widths)) if widths[at] < widths[widest]})
        step = min(excess, widths[widest] - max(least[widest], lower[-1] if lower else 0), max(1, widths[widest] // 8))
        widths[widest] -= max(1, step)
        excess -= max(1, step)
    return widths


def _cut(text: str, width: int, side: str) -> str:
    """The text in `width` columns of the terminal, with `…` where some of it is missing."""
    if cell_len(text) <= width:
        return text
    if side == "start":
        return CUT + _first(text[::-1], width - 1)[::-1]
    return _first(text, width - 1) + CUT


def _first(text: str, width: int) -> str:
    """As much of a text as `width` columns hold."""
    used = 0
    for at, char in enumerate(text):
        used += cell_len(char)
        if used > width:
            return text[:at]
    return text


def _broken(text: str, width: int) -> list[str]:
    """The text in lines of `width` columns, broken at spaces where there are some."""
    lines: list[str] = []
    while cell_len(text) > width:
        head = _first(text, width) or text[:1]
        space = head.rfind(" ") if not text[len(head) :].startswith(" ") else len(head)
        end = space if space > 0 else len(head)
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def _padded(cells: list[list[str]]) -> list[list[str]]:
    height = max(map(len, cells))
    return [[*cell, *[""] * (height - len(cell))] for cell in cells]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(cells, widths, strict=True))
    return GAP.join(padded).rstrip()
