"""What to write so that a line of a terminal becomes another one: its changed middle, where that is plain. Pure.

Clocks and ages change every second: only their digits are sent then, which matters over a slow line.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

from rich.cells import cell_len

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_PIECES = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)
_RESET = "\x1b[0m"


class Patch(NamedTuple):
    """What to write at a column, from 1."""

    column: int
    text: str


def width_of(line: str) -> int:
    """How many columns a line takes, its styles left out."""
    return cell_len(_STYLE.sub("", line))


def patch(before: str, after: str, width: int) -> Patch:
    """The shortest of what turns one line into another. width: of the terminal, beyond which nothing is written."""
    # at the right edge the cursor stands on the last column, which must not be cleared
    whole = Patch(1, after + ("" if width_of(after) >= width else "\x1b[K"))
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    first = _same(old, new)
    left = min(len(old), len(new)) - first
    last = min(left, _same(old[::-1], new[::-1]))
    gone, come = old[first : len(old) - last], new[first : len(new) - last]
    if any(piece.startswith("\x1b") for piece in (*gone, *come)):
        return whole
    text = "".join(come)
    if cell_len("".join(gone)) != cell_len(text) or _joins(gone) or _joins(come) or _joins(new[len(new) - last :]):
        return whole
    style = next((piece for piece in reversed(new[:first]) if piece.startswith("\x1b")), _RESET)
    styled = text if style == _RESET else f"{style}{text}{_RESET}"
    return min(Patch(width_of("".join(new[:first])) + 1, styled), whole, key=lambda each: len(each.text))


def _same(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _joins(pieces: list[str]) -> bool:
    """Whether the first of the pieces has no column of its own, and so belongs to what stands before it."""
    return bool(pieces) and not pieces[0].startswith("\x1b") and cell_len(pieces[0]) == 0
