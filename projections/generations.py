"""Names of generations: which fold versions built the views, on which line, and how often they were built anew.

A generation is filled from the start of the log by the versions in its name, over the line that its cut names, so
that any process can go on where another one stopped. Another fold version, a restore and a rebuild are the same
thing: a generation with another name beside the live one, then the switch of the pointer.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from projections.fold import VIEWS

LAYOUT = 1
"""How a store keeps a generation: 1, since each proves that it is whole; 0 before that. Only grows."""

_versions = " ".join(f"{name}:{view.VERSION}" for name, view in sorted(VIEWS.items()))
_folds = sum(view.VERSION for view in VIEWS.values())
FOLDS = f"{_folds}-{hashlib.sha256(_versions.encode()).hexdigest()[:8]}"
"""Identifies the fold versions of this build: the same ones make the same rows."""

EDITION = _folds + LAYOUT
"""Grows with each change of a fold and of the layout, as versions only grow and views only come: it orders builds."""

MADE = f"{EDITION}-{hashlib.sha256(f'{_versions} layout:{LAYOUT}'.encode()).hexdigest()[:8]}"
"""Identifies what this build makes: the fold versions, and how they are kept."""

_NAME = re.compile(r"(\d+)-([0-9a-f]{8})\.(\d+)\.(\d+)")


class Generation(NamedTuple):
    """edition, digest: what made it, as in MADE. cut: seq of the last `restore.done` on its line, 0 for none."""

    edition: int
    digest: str
    cut: int
    number: int

    @property
    def name(self) -> str:
        """`<edition>-<digest>.<cut>.<number>`."""
        return f"{self.edition}-{self.digest}.{self.cut}.{self.number}"

    @property
    def made(self) -> str:
        """What made it, as in MADE."""
        return f"{self.edition}-{self.digest}"

    @property
    def newer(self) -> bool:
        """Whether a later build made it: it is read, but never built back."""
        return (self.edition, self.digest) > (EDITION, MADE.partition("-")[2])


def parse(name: str | None) -> Generation | None:
    """The generation of a name, None where there is none, or none of ours."""
    found = _NAME.fullmatch(name or "")
    return Generation(int(found[1]), found[2], int(found[3]), int(found[4])) if found else None


def after(live: Generation | None, cut: int) -> Generation:
    """The generation that this build makes in place of the live one; the same for all who see the same live one."""
    edition, _, digest = MADE.partition("-")
    return Generation(int(edition), digest, cut, live.number + 1 if live else 1)
