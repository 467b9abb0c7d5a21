"""The address of a folder: its file system and its path in that, the same through every mount or bind mount.

A bind mount shows a folder, or a part of it, at a second, unrelated path. Comparing paths does not see that, and
comparing inodes only where the folder itself is shown. The kernel tells for each mount which folder of which file
system it shows; that folder, plus the path below the mount point, is the address. Where the kernel does not tell (no
/proc, another system), no folder has an address.
"""

from __future__ import annotations

import bisect
import functools
import os
import re
import select
import threading
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

SMALL_BYTES_MAX = 65_536
SHOWN_MAX = 10_000
"""So many folders are remembered with what they show."""
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Address(NamedTuple):
    """The address of a folder. device: of the file system, `major:minor`; path: from the root of that file system."""

    device: bytes
    path: str

    def lies_in(self, other: Address) -> bool:
        """Whether this folder is `other`, or lies inside it."""
        inside = self.path == other.path or self.path.startswith(other.path.rstrip("/") + "/")
        return self.device == other.device and inside

    def inner(self, name: str) -> Address:
        """The address of the folder `name` in this folder."""
        return Address(self.device, f"{self.path.rstrip('/')}/{name}")


class Mounts:
    """A snapshot of the mounts in this process's namespace: mount point and shown folder, by mount id."""

    def __init__(self) -> None:
        self._mounts: dict[bytes, tuple[str, Address, str]] = {}
        self._shown: dict[str, tuple[tuple[int, int], str]] = {}
        try:
            lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        except OSError:
            lines = []
        for line in lines:
            identity, _, device, root, point, *_ = line.split(b" ")
            kind = line.rpartition(b" - ")[2].partition(b" ")[0]
            self._mounts[identity] = _text(point), Address(device, _text(root)), _text(kind)

    def address(self, real: str) -> Address | None:
        """The address of a path without links. A path that does not exist has the address where it would be made."""
        found = self._found(real)
        return None if found is None else found[0]

    def shown(self, real: str, folder: tuple[int, int] | None = None) -> str:
        """The kind of file system and the path in it that `real` shows, as text; "" where that is unknown.

        Unlike device numbers, this text stays the same after a restart of the machine. folder: the device and inode
        that are there now, where they are known: while they and the mounts are the same the kernel is not asked again.
        """
        if folder is not None and (known := self._shown.get(real)) is not None and known[0] == folder:
            return known[1]
        found = self._found(real)
        text = "" if found is None else f"{found[1]}:{found[0].path}"
        if folder is not None and text:
            if len(self._shown) >= SHOWN_MAX:
                self._shown.clear()
            self._shown[real] = folder, text
        return text

    def _found(self, real: str) -> tuple[Address, str] | None:
        """The address of a path, and the kind of its file system; None where its mount is not known."""
        rest = ""
        while True:
            mount = self._mounts.get(_mount_id(real))
            if mount is not None or real == "/":
                break
            real, _, name = real.rpartition("/")
            real, rest = real or "/", f"/{name}{rest}"
        if mount is None:
            return None
        point, shown, kind = mount
        if real != point and not real.startswith(point.rstrip("/") + "/"):
            return None
        inner = real[len(point.rstrip("/")) :].rstrip("/") + rest
        return Address(shown.device, (shown.path.rstrip("/") + inner) or "/"), kind

    @functools.cached_property
    def points(self) -> list[tuple[str, Address]]:
        """The mount points, in order of path, each with the folder that it shows."""
        return sorted((point, shown) for point, shown, _ in self._mounts.values())

    def begins_at(self, real: str) -> bool:
        """Whether there is a mount point at this path, seen or hidden by another."""
        return any(point == real for point, _ in self._from(real, real + "\0"))

    def below(self, real: str) -> list[Address]:
        """The addresses that the mounts inside a folder show."""
        inside = real.rstrip("/") + "/"
        return [shown for _, shown in self._from(inside, inside[:-1] + "0")]

    def _from(self, first: str, end: str) -> list[tuple[str, Address]]:
        """The mount points whose paths, as texts, lie from `first` on and before `end`."""
        start = bisect.bisect_left(self.points, first, key=itemgetter(0))
        return self.points[start : bisect.bisect_left(self.points, end, start, key=itemgetter(0))]


class _Watch:
    """A cache of the current mounts, which is read again only when the kernel reports a change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._poll: select.poll | None = None
        self._mounts: Mounts | None = None

    def mounts(self) -> Mounts:
        with self._lock:
            if self._mounts is None or self._has_changed():
                self._mounts = Mounts()
            return self._mounts

    def _has_changed(self) -> bool:
        if self._poll is None:
            try:
                handle = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return True
            self._poll = select.poll()
            self._poll.register(handle, select.POLLPRI)
            return True  # mounts may have changed before this poll began
        return bool(self._poll.poll(0))


current = _Watch().mounts
"""The function that returns the current mounts."""


def _mount_id(path: str) -> bytes:
    """The id of the mount that a path is on; b"" where the path does not exist."""
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return b""
    try:
        for line in read_file(f"/proc/self/fdinfo/{handle}").splitlines():
            if line.startswith(b"mnt_id:"):
                return line.split()[1]
    except OSError:
        pass
    finally:
        os.close(handle)
    return b""


def read_file(path: str) -> bytes:
    """The content of a small file. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, SMALL_BYTES_MAX)
    finally:
        os.close(handle)


def _text(field: bytes) -> str:
    """A field of mountinfo as text, with its octal escapes decoded."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
