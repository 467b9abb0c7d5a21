"""Patterns in the lines of an output: which line one matches first, or last."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from maestro.agents.parts import Patterns
from maestro.printable_text import plain

LINE_LENGTH_MAX = 4096
"""How much of a line is looked at."""

FIRST_CHARACTERS = f"patterns were looked for in the first {LINE_LENGTH_MAX} characters of each line"
_FOUND_MAX = 4 * LINE_LENGTH_MAX
"""How much is kept of a match: one may be all that was printed."""


def whole_lines(text: bytes) -> list[str]:
    return plain(text.decode("utf-8", "replace")).split("\n")


def cut_lines(text: bytes) -> list[str]:
    return [line[:LINE_LENGTH_MAX] for line in whole_lines(text)]


class Found(NamedTuple):
    """What a pattern matched. line: the number of its last line; text: the line, or all lines of the match."""

    line: int
    text: str
    pattern: str


def _matches(pattern: str, lines: list[str]) -> Iterator[Found]:
    """All that a pattern matches: line by line, but one with a line end in it in all of them at once."""
    compiled = re.compile(pattern, re.MULTILINE)
    if "\\n" in pattern or "\n" in pattern:
        text = "\n".join(lines)
        line, counted = 0, 0  # line ends are counted on from the match before, as there may be as many of them
        for found in compiled.finditer(text):
            line, counted = line + text.count("\n", counted, found.end()), found.end()
            begin, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
            yield Found(line, text[begin : end if end >= 0 else None][:_FOUND_MAX], pattern)
    else:
        yield from (Found(at, line, pattern) for at, line in enumerate(lines) if compiled.search(line))


def first_match(patterns: Patterns, lines: list[str], behind: int = -1) -> Found | None:
    """The first match behind a line, or in it where that is the later sign; None for none."""
    several = (
        next((found for found in _matches(one, lines) if found.line >= behind), None) for one in _listed(patterns)
    )
    return min((found for found in several if found is not None), key=lambda found: found.line, default=None)


def last_match(patterns: Patterns, lines: list[str]) -> Found | None:
    """The last match, None for none."""
    several = (found for one in _listed(patterns) for found in deque(_matches(one, lines), maxlen=1))
    return max(several, key=lambda found: found.line, default=None)


def _listed(patterns: Patterns) -> tuple[str, ...]:
    return tuple(one for one in ((patterns,) if isinstance(patterns, str) else patterns) if one)
