"""Patterns of paths in a workspace, such as `dist/**`: which files a step leaves to later ones.

`*` stands for any characters within a name, `**` for any folders between, or, at the end, for all that is below. What
names a folder means all files in it. Everything else stands for itself; names that begin with a dot are like others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from maestro.model.errors import Invalid

ANY = "**"
_BELOW = -1
"""The place in a pattern of all that lies in a folder which it matches."""

Places = frozenset[tuple[int, int]]
"""How far each pattern has come on the way to a name: (pattern, place in it)."""


class PathPatterns:
    """Some patterns, walked name by name: `start`, then `step` for each name of a path. Raises Invalid as `parts`."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._names = [[None if name == ANY else _matcher(name) for name in parts(each)] for each in patterns]

    @property
    def start(self) -> Places:
        """Before the first name."""
        return self._and_skipped({(pattern, 0) for pattern in range(len(self.patterns))})

    def step(self, places: Places, name: str) -> Places:
        """Behind one more name; empty where nothing there, or below it, can match."""
        found: set[tuple[int, int]] = set()
        for pattern, place in places:
            if place == _BELOW or place == len(self._names[pattern]):
                found.add((pattern, _BELOW))
            elif (matcher := self._names[pattern][place]) is None:
                found.add((pattern, place))
            elif matcher.fullmatch(name):
                found.add((pattern, place + 1))
        return self._and_skipped(found)

    def matched(self, places: Places) -> frozenset[int]:
        """The patterns that match here."""
        return frozenset(pattern for pattern, place in places if place == _BELOW or place == len(self._names[pattern]))

    def _and_skipped(self, places: set[tuple[int, int]]) -> Places:
        """These places, and those behind a `**` that stands for no folder."""
        more = set(places)
        for pattern, place in places:
            names = self._names[pattern]
            while 0 <= place < len(names) and names[place] is None:
                place += 1
                more.add((pattern, place))
        return frozenset(more)


def parts(pattern: str) -> list[str]:
    """The names of a pattern. Raises Invalid for one that is empty, absolute, or leaves the workspace."""
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    if not names or pattern.startswith("/") or ".." in names or "\0" in pattern:
        raise Invalid(f"{pattern!r} is no path in a workspace", mend="write it relative, without `..`: dist/**")
    if names[-1] == ANY:
        names.append("*")
    return names


def _matcher(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in re.split(r"\*+", name)), re.DOTALL)
