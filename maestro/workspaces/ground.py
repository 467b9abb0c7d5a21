"""One look at the file system for many checks: what many paths have in common is resolved and looked at once.

A folder is known by its real path, its identity (device, inode) and its address in its file system, so that no link,
bind mount (whole or part) or case-insensitive file system makes another folder of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from maestro.workspaces.addresses import Address, Mounts

Identity = tuple[int, int]
_SHARED_LEVELS_MAX = 400
"""A deeper path, which only a forged record has, is resolved by itself."""


class Ground:
    """The file system as it was when each of its folders was first asked for. Looks at each path once."""

    def __init__(self) -> None:
        self.mounts = Mounts()
        self._statuses: dict[str, os.stat_result | None] = {}
        self._reals: dict[str, str] = {"/": "/"}
        self._addresses: dict[str, Address | None] = {}

    def status(self, path: str) -> os.stat_result | None:
        """The status of what is at a path, of a link itself; None where that cannot be told."""
        if path not in self._statuses:
            try:
                self._statuses[path] = os.lstat(path)
            except (OSError, ValueError):  # a recorded path may hold what no path can
                self._statuses[path] = None
        return self._statuses[path]

    def forget_absent(self, real: str) -> None:
        """Look again at the levels of a path that were not there: they have been made."""
        for level in levels(real):
            if self._statuses.get(level) is None:
                self._statuses.pop(level, None)

    def identity(self, real: str) -> Identity | None:
        """The (device, inode) of what is at a real path."""
        found = self.status(real)
        return None if found is None or stat.S_ISLNK(found.st_mode) else (found.st_dev, found.st_ino)

    def real(self, path: str) -> str:
        """The path without links, as os.path.realpath gives it."""
        known = self._reals.get(path)
        if known is None:
            above, _, name = path.rpartition("/")
            if not path.startswith("/") or name in ("", ".", "..") or path.count("/") > _SHARED_LEVELS_MAX:
                return os.path.realpath(path)
            known = f"{self.real(above or '/').rstrip('/')}/{name}"
            found = self.status(known)
            if found is not None and stat.S_ISLNK(found.st_mode):
                known = os.path.realpath(known)
            self._reals[path] = known
        return known

    def address(self, real: str) -> Address | None:
        """The address of a real path: below the one of the folder above, unless a mount begins here."""
        if real not in self._addresses:
            above, _, name = real.rpartition("/")
            is_shared = name and real.count("/") <= _SHARED_LEVELS_MAX and not self.mounts.begins_at(real)
            known = self.address(above or "/") if is_shared else None
            found = self.mounts.address(real) if known is None else known.inner(name)
            self._addresses[real] = found
        return self._addresses[real]

    def place(self, path: str | Path) -> Place:
        """The folder that a path leads to; it need not exist."""
        return Place(self, str(path))


class Place:
    """A folder, however it was named. given: the name; real: the path without links."""

    def __init__(self, ground: Ground, path: str) -> None:
        self._ground = ground
        self.given = path
        self.real = ground.real(path)
        self.identity = ground.identity(self.real)
        self.address = ground.address(self.real)

    @property
    def inner(self) -> list[Address]:
        """The addresses of what is mounted inside it."""
        return self._ground.mounts.below(self.real)

    def is_in(self, other: Place) -> bool:
        """Whether this folder is `other`, or lies inside it."""
        if self.real == other.real or self.real.startswith(other.real.rstrip("/") + "/"):
            return True
        if other.identity is not None and other.identity in map(self._ground.identity, levels(self.real)):
            return True
        return self.address is not None and other.address is not None and self.address.lies_in(other.address)

    def overlaps(self, other: Place) -> str:
        """The relation of this folder to `other`: `is`, `contains`, `lies inside` or ""."""
        inside, around = self.is_in(other), other.is_in(self)
        if inside and around:
            return "is"
        if inside or _shown_in(self.address, other.inner):
            return "lies inside"
        return "contains" if around or _shown_in(other.address, self.inner) else ""


def levels(path: str) -> Iterator[str]:
    """Yield an absolute path and those of the folders above it, up to /."""
    while path not in ("/", ""):
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def _shown_in(address: Address | None, mounts: list[Address]) -> bool:
    """Whether one of these mounts shows the folder of that address, a folder around it, or a part of it."""
    return address is not None and any(address.lies_in(shown) or shown.lies_in(address) for shown in mounts)
