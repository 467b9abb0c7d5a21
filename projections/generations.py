"""Names of view generations: which fold versions built them, on which line, and which rebuild it was.

A generation is folded from the start of the log, by the fold versions in its name, over the line that its cut names, so
that any process can continue where another one stopped. A new fold version, a restore and a rebuild all work in the
same way: a generation with another name is built next to the live one, then the pointer is switched.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from maestro.store.keys import LAYOUT
from projections.fold import VIEWS

_versions = " ".join(f"{name}:{view.VERSION}" for name, view in sorted(VIEWS.items()))
_folds = sum(view.VERSION for view in VIEWS.values())
FOLDS = f"{_folds}-{hashlib.sha256(_versions.encode()).hexdigest()[:8]}"
"""Identifies the fold versions of this build: equal values produce equal rows."""

EDITION = _folds + LAYOUT
"""Orders builds: grows with each change of a fold or of the layout, as versions only grow and views are only added."""

BUILD = f"{EDITION}-{hashlib.sha256(f'{_versions} layout:{LAYOUT}'.encode()).hexdigest()[:8]}"
"""Identifies what this build writes: the fold versions and the layout."""

_NAME = re.compile(r"(\d+)-([0-9a-f]{8})\.(\d+)\.(\d+)")


class Generation(NamedTuple):
    """A generation's name in parts.

    edition, digest: the build that made it, as in BUILD.
    cut: seq of the last `restore.done` on its line, 0 for none.
    number: counts the generations, so that a rebuild gets a new name.
    """

    edition: int
    digest: str
    cut: int
    number: int

    @property
    def name(self) -> str:
        """`<edition>-<digest>.<cut>.<number>`."""
        return f"{self.edition}-{self.digest}.{self.cut}.{self.number}"

    @property
    def build(self) -> str:
        """The build that made the generation, as in BUILD."""
        return f"{self.edition}-{self.digest}"

    @property
    def newer(self) -> bool:
        """Whether a later build made the generation: it is read, but never replaced by this build."""
        return (self.edition, self.digest) > (EDITION, BUILD.partition("-")[2])


def parse(name: str | None) -> Generation | None:
    """The generation with this name; None for None, or for a name of another format."""
    found = _NAME.fullmatch(name or "")
    return Generation(int(found[1]), found[2], int(found[3]), int(found[4])) if found else None


def after(live: Generation | None, cut: int) -> Generation:
    """The generation by which this build replaces the live one; the same for all who see the same live one."""
    edition, _, digest = BUILD.partition("-")
    return Generation(int(edition), digest, cut, live.number + 1 if live else 1)
