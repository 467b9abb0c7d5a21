"""Paths and matches in the events that an agent prints: values at a path, and whether an event matches."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from maestro.agents.parts import Match, Matches

PATH = re.compile(r"[^\s.\[\]*]+(?:\[(?:-?\d+|\*)\]|\.\*|\.[^\s.\[\]*]+)*|\*(?:\.\*|\.[^\s.\[\]*]+)*")
_INDEX = re.compile(r"-?\d{1,6}")
_BRACKETS = re.compile(r"\[(-?\d+|\*)\]")


class Place:
    """A path in events, made ready to be looked up in many. `a[0].b` is `a.0.b`, `a[*]` is `a.*`, "" the
    event itself.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.parts = tuple(part for part in _BRACKETS.sub(r".\1", path.removeprefix("$")).split(".") if part)
        self._is_key = self.parts == (path,) and path != "*"

    def values(self, data: Any) -> list[Any]:
        """All values at the path, in order; a key with dots in it is found by its whole name too."""
        if isinstance(data, dict):
            if self.path in data:
                return [data[self.path]]
            if self._is_key:
                return []
        found = [data]
        for part in self.parts:
            found = [below for value in found for below in _below(value, part)]
        return found

    def text(self, data: Any) -> str:
        """The texts at the path, one after the other; what is no text counts as none."""
        return "".join(value for value in self.values(data) if isinstance(value, str))


def _below(value: Any, part: str) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values()) if part == "*" else [value[part]] if part in value else []
    if isinstance(value, list):
        if part == "*":
            return value
        if _INDEX.fullmatch(part) and -len(value) <= int(part) < len(value):
            return [value[int(part)]]
    return []


class Matcher:
    """Tells whether an event matches, or matches any of several matches. None matches nothing."""

    def __init__(self, matches: Matches | None) -> None:
        several = (matches,) if isinstance(matches, dict) else matches or ()
        self._any = tuple(tuple((Place(path), Wanted(wanted)) for path, wanted in match.items()) for match in several)

    def __call__(self, event: Any) -> bool:
        return self._first(event) is not None

    def reason(self, event: Any) -> str:
        """Of an event that matches: where its patterns were found, and in what; "" where it has none."""
        found = ((place.path, wanted.found(place.values(event))) for place, wanted in self._first(event) or ())
        return ", ".join(f"{path}: {', '.join(texts)}" for path, texts in found if texts)

    def _first(self, event: Any) -> tuple[tuple[Place, Wanted], ...] | None:
        for match in self._any:
            for place, wanted in match:
                if not wanted.among(place.values(event)):
                    break
            else:
                return match
        return None


class Wanted:
    """The values that a match wants at one path."""

    def __init__(self, wanted: str | tuple[str, ...]) -> None:
        several = (wanted,) if isinstance(wanted, str) else wanted
        self._anything = "*" in several
        self._texts = frozenset(text for text in several if not text.startswith("~"))
        self._patterns = tuple(re.compile(text[1:]) for text in several if text.startswith("~"))

    def among(self, values: list[Any]) -> bool:
        """Whether one of the values is wanted."""
        for value in values:
            text = scalar(value)
            if self._anything or (text is not None and (text in self._texts or self._found_in(text))):
                return True
        return False

    def found(self, values: list[Any]) -> list[str]:
        """The texts among the values in which a pattern is found, each once."""
        texts = dict.fromkeys(text for value in values if (text := scalar(value)) is not None)
        return [text for text in texts if self._found_in(text)]

    def _found_in(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._patterns)


def scalar(value: Any) -> str | None:
    """A scalar of an event as text, as JSON has it; None for lists and mappings."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return None
    return msgspec.json.encode(value).decode()


def patterns(match: Match) -> list[tuple[str, str]]:
    """The regular expressions of a match, with their paths."""
    several = [(path, (wanted,) if isinstance(wanted, str) else wanted) for path, wanted in match.items()]
    return [(path, text[1:]) for path, texts in several for text in texts if text.startswith("~")]
