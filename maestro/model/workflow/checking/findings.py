"""What is wrong with a definition, and where: the findings of all checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from maestro.model.ids import nearest

COMPARED_MAX = 200
"""So many known words are compared with an unknown one; of more, those with its letters, or one more or less."""

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """Something wrong with a definition. path: the key or item; offset: in its text, None for the key itself."""

    path: Path
    what: str
    mend: str = ""
    offset: int | None = None


def near(word: str, known: Iterable[str]) -> str:
    """A hint on an unknown word: the nearest known one, or all of them."""
    names = sorted(known)
    compared = names
    if len(names) > COMPARED_MAX:  # each comparison takes some microseconds, and a file may have thousands of slips
        letters = sorted(word)
        compared = [one for one in names if sorted(one) == letters or one[:-1] == word or one == word[:-1]]
    found = nearest(word, compared[:COMPARED_MAX])
    if found:
        return f"did you mean `{found[0]}`?"
    return "known: " + ", ".join(names[:20]) + (", …" if len(names) > 20 else "") if names else ""
