"""Durations as users write them: one grammar for options, variables, agent types and times ago."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

UNITS_MS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_PART = rf"({_NUMBER})(ms|[wdhms])"  # compiled where a duration is read: each command pays for what is compiled here


def duration_ms(text: str, bare: str = "s") -> int | None:
    """Milliseconds of `90` (of the unit `bare`), `90s`, `10m`, `1.5h` or `1h30m`; None for what is no duration.

    Units are w, d, h, m, s and ms; where there are several, the larger comes first, and each once.
    """
    if re.fullmatch(_NUMBER, text):
        return round(float(text) * UNITS_MS[bare])
    if not re.fullmatch(rf"(?:{_PART})+", text):
        return None
    parts = re.findall(_PART, text)
    sizes = [UNITS_MS[unit] for _, unit in parts]
    if any(larger <= smaller for larger, smaller in pairwise(sizes)):
        return None
    return round(sum(float(number) * size for (number, _), size in zip(parts, sizes, strict=True)))


def duration_forms(bare: str = "s") -> str:
    """The remedy for what is no duration, or one out of range: the forms that there are."""
    if bare == "d":
        return "give 7 (days), 7d, 48h or 2w"
    return "give 90 (seconds), 90s, 10m, 2h, 7d or 1h30m"
