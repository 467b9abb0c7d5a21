"""The reading of an archive by one command: what it opened for one tree serves for the next one.

A snapshot of a thousand workspaces has a thousand trees, whose listings lie in a few blocks; its manifest and the index
name all of them. They are read once, and again when a pack has come or gone, or more damage is known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import index as indexes, manifests
from maestro.workspaces.archive.format.entries import Tree
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.stat_cache import is_racy
from maestro.workspaces.archive.read.contents import Contents

_Stamp = tuple[tuple[int, int], ...]


class Reading:
    """An archive that is read, to be closed. Its calls need `layout.shared()`; in between, anything may change."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._contents: Contents | None = None
        self._stamp: _Stamp | None = None
        self._trees: tuple[str, _Stamp | None, dict[str, Tree]] = ("", None, {})

    @property
    def contents(self) -> Contents:
        """The content of the archive as it is now."""
        now = _stamp(self.layout.packs, self.layout.quarantine)
        known = self._contents
        if known is not None and not known.damage_met and now is not None and now == self._stamp:
            return known
        self.close()
        self._contents = Contents(self.layout, indexes.load(self.layout))
        self._stamp = _stamp(self.layout.packs, self.layout.quarantine)
        return self._contents

    def tree(self, snapshot: str, name: str) -> Tree:
        """A tree of a snapshot. Raises `VerificationFailed` where it has none of that name, `NotFound`."""
        now = _stamp(manifests.path_of(self.layout, snapshot))
        if self._trees[:2] != (snapshot, now) or now is None:
            trees = manifests.read(self.layout, snapshot)[0].trees
            self._trees = (snapshot, now, {tree.name: tree for tree in trees})
        if (tree := self._trees[2].get(name)) is None:
            raise VerificationFailed(f"it holds no tree {name!r}", where=f"snapshot {snapshot}")
        return tree

    def close(self) -> None:
        """Close what is open. It is opened again where it is needed."""
        if self._contents is not None:
            self._contents.close()
        self._contents = None


@contextmanager
def reading(layout: Layout) -> Iterator[Reading]:
    """Read an archive during the block. The caller holds `layout.shared()`."""
    opened = Reading(layout)
    try:
        yield opened
    finally:
        opened.close()


def _stamp(*places: Path) -> _Stamp | None:
    """What changes whenever something at one of these paths does; None where a change just now could not be told."""
    now = time.time_ns()
    try:
        found = [place.stat() for place in places]
    except OSError:
        return None
    if any(is_racy(one.st_ctime_ns, now) for one in found):
        return None
    return tuple((one.st_ino, one.st_ctime_ns) for one in found)
