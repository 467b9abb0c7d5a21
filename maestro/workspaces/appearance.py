"""The appearance of a tree: what `lstat` tells of every name in it, in one digest, for the price of a bare walk.

Two equal appearances show that nothing was changed between the two looks, where no time stamp of the first lies so near
to it that a change could have left the stamp as it is, and nobody has a file of the tree mapped for writing. No process
can set a ctime, so resetting an mtime deceives nobody. Nothing is opened but folders, no link is followed, and no mount
entered.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from maestro.workspaces.archive.format.stat_cache import is_racy
from maestro.workspaces.mappings import Mapped, Mappings

NOTHING = Mapped(frozenset(), frozenset(), frozenset(), frozenset())


class Appearance(NamedTuple):
    """How a tree looked. digest: of all names and their status; newest: the latest ctime in it, ns.

    calm: whether every later change shows. entries: how many names it has.
    """

    digest: str
    newest: int
    calm: bool
    entries: int

    def shows(self, other: Appearance) -> bool:
        """Whether a later look, `other`, shows that nothing was changed since this one."""
        return self.calm and self.digest == other.digest


def look(tree: str) -> Appearance:
    """How a tree looks now. A folder that cannot be read counts as one without names. Blocks."""
    began = time.time_ns()
    try:
        mapped = Mappings().before(os.fsencode(tree), os.lstat(tree).st_dev)
    except OSError:
        mapped = NOTHING
    found = _Walk(lasting=False, mapped=mapped.inodes)
    found.walk(tree)
    calm = not (mapped.paths or found.is_mapped or found.is_racy(began))
    return Appearance(found.digest(), found.newest, calm, found.entries)


def lasting_look(tree: str, without: str) -> Appearance:
    """How a tree looks without what other names of its files change: their ctime. Never calm.

    without: how names at its top begin that do not count, nor does the top itself.
    """
    found = _Walk(lasting=True)
    found.walk(tree, without)
    return Appearance(found.digest(), found.newest, calm=False, entries=found.entries)


class _Walk:
    """One walk. lasting: of files their mtime and mode count instead of their ctime. mapped: inodes to look for."""

    def __init__(self, lasting: bool, mapped: frozenset[int] = frozenset()) -> None:
        self.newest = 0
        self.entries = 0
        self.device = 0
        self.is_mapped = False
        self._lasting = lasting
        self._mapped = mapped
        self._hash = hashlib.blake2b(digest_size=20)
        self._coarse = 0

    def digest(self) -> str:
        return self._hash.hexdigest()

    def is_racy(self, looked_at: int) -> bool:
        """Whether a change after the look could have left the latest ctime, or one of whole ms, as it is."""
        return any(is_racy(ctime, looked_at) for ctime in (self.newest, self._coarse))

    def walk(self, tree: str, without: str = "") -> None:
        """Take in every name, folder by folder. without: see `lasting_look`."""
        try:
            top = os.lstat(tree)
        except OSError:
            return
        self.device = top.st_dev
        if not without:
            self._take([top], [b"."])
        stack = [tree] if stat.S_ISDIR(top.st_mode) else []
        while stack:
            folder = stack.pop()
            statuses, names = [], []
            try:
                with os.scandir(folder) as listed:
                    for item in listed:
                        if without and folder == tree and item.name.startswith(without):
                            continue
                        found = item.stat(follow_symlinks=False)
                        statuses.append(found)
                        names.append(item.name)
                        if item.is_dir(follow_symlinks=False) and found.st_dev == self.device:
                            stack.append(item.path)
            except OSError as error:
                names.append(f"/{error.errno}")  # no name has a slash
            self._take(statuses, map(os.fsencode, names))

    def _take(self, statuses: list[os.stat_result], names: Iterable[bytes]) -> None:
        joined = b"\0".join(names)
        inodes = [found.st_ino for found in statuses]
        times = [found.st_mtime_ns if self._lasting else found.st_ctime_ns for found in statuses]
        self._hash.update(array("Q", inodes).tobytes())
        self._hash.update(array("q", times).tobytes())
        self._hash.update(array("q", [found.st_size for found in statuses]).tobytes())
        if self._lasting:
            self._hash.update(array("q", [found.st_mode for found in statuses]).tobytes())
        else:
            self._note(times)
        if self._mapped and not self._mapped.isdisjoint(inodes):
            self.is_mapped = True
        self.entries += len(statuses)
        self._hash.update(b"%d\0" % len(joined))
        self._hash.update(joined)

    def _note(self, ctimes: list[int]) -> None:
        self.newest = max(self.newest, *ctimes, 0)
        coarse = [ctime for ctime in ctimes if not ctime % 1_000_000]
        self._coarse = max(self._coarse, *coarse, 0) if coarse else self._coarse
