"""How the parts of the screen share its lines. Pure.

Each part gets its heading first, in the order of what a person must not miss; then all get a line, and then what they
want in turns, so that none takes all. Lines that nobody wants stay empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """A part of the screen. lines: how many it wants below its heading; weight: so many it gets in its turn.

    after: another part that has all it wants before this one gets a line; such a part has no heading of its own.
    """

    name: str
    lines: int
    weight: int = 1
    after: str = ""


def shared(room: int, parts: Sequence[Part]) -> dict[str, int]:
    """How many lines each part gets, its heading included; 0 where there was no room. parts: the dearest first."""
    given = {part.name: 0 for part in parts}
    for part in parts:
        if room > 0 and not part.after:
            given[part.name] = 1
            room -= 1
    wants = {part.name: part.lines + (not part.after) for part in parts}
    wanting = [part for part in parts if given[part.name] or part.after]
    before, is_first = room + 1, True
    while room < before:
        before = room
        for part in wanting:
            if not part.after or given[part.after] == wants[part.after]:
                lines = min(1 if is_first else part.weight, room, wants[part.name] - given[part.name])
                given[part.name] += lines
                room -= lines
        is_first = False
    return given


def window(count: int, chosen: int, first: int, room: int) -> int:
    """The first of the rows to show, so that the chosen one is among them, and as few as possible move."""
    if room <= 0:
        return 0
    first = min(first, chosen)
    first = max(first, chosen - room + 1)
    return max(0, min(first, count - room))


def total(given: Mapping[str, int]) -> int:
    """How many lines were given away."""
    return sum(given.values())
