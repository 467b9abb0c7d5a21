"""The answers to a request for permission that every agent understands, and the kinds of options that they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "allow": ("allow_once", "allow_always"),
    "allow-always": ("allow_always",),
    "reject": ("reject_once", "reject_always"),
    "reject-always": ("reject_always",),
}
"""By answer: the kinds of options that it means, the best first, as the Agent Client Protocol names them."""


def option_of(answer: str, options: Iterable[tuple[str, str]]) -> str:
    """The id of the option that an answer means, "" where none does.

    answer: one of `KINDS`, or the id of an option. options: id and kind of each.
    """
    given = list(options)
    for wanted in KINDS.get(answer, ()):
        for name, kind in given:
            if kind == wanted:
                return name
    return next((name for name, _ in given if name == answer), "")
