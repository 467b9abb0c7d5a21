"""Finds files that processes have mapped for writing: a change to such a file may leave no time stamp.

The kernel stamps a file when a clean page of it is first written to, and not again until that page has been written
back; on tmpfs never again. So neither mtime nor ctime tells that a mapped file has changed, or is changing.

Linux lists mappings in /proc/<pid>/maps. Hidden from it, and so not seen here, are processes of other users (unless
this one is root's), processes outside this container, clients of a network file system, and the host of a virtual
machine. On other systems no mapping is seen.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_WRITABLE = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ .w.s [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]+) +(/.*)$", re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_READ_BYTES = 1 << 20
_AT_REST = {b"T", b"t", b"Z", b"X"}

_FRESH_S = 0.25
_PROCMAP_QUERY = 0xC0686611
_FLAGS = 0x02 | 0x08 | 0x10 | 0x20  # writable, shared, this address or the next, of a file
_NAME_BYTES = 4096 + 16


class _Query(ctypes.Structure):
    """The C struct `procmap_query`."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("size", "flags", "address", "start", "end", "vma_flags", "page_size")),
        *(("offset", ctypes.c_uint64), ("inode", ctypes.c_uint64)),
        *((name, ctypes.c_uint32) for name in ("major", "minor", "name_size", "build_size")),
        *(("name_address", ctypes.c_uint64), ("build_address", ctypes.c_uint64)),
    )


class Mapped(NamedTuple):
    """The files of a tree that any process has mapped for writing: by path or by inode, whichever is known.

    live_paths, live_inodes: those mapped by a process that can run now.
    """

    paths: frozenset[bytes]
    inodes: frozenset[int]
    live_paths: frozenset[bytes]
    live_inodes: frozenset[int]

    def has(self, path: bytes, inode: int) -> bool:
        """Whether the file at this path below the tree is mapped for writing."""
        return inode in self.inodes or path in self.paths

    def is_live(self, path: bytes, inode: int) -> bool:
        """Whether a process that can run now, and so write at any moment, has the file mapped."""
        return inode in self.live_inodes or path in self.live_paths


class _Mapping(NamedTuple):
    """One mapping of a process. path: in that process's mount namespace, which may differ from this one's."""

    path: bytes
    device: int
    inode: int
    is_live: bool


class Mappings:
    """Finds the mapped files of one tree after the other, while the trees are read."""

    def __init__(self) -> None:
        self._found: list[_Mapping] = []
        self._looked_at = -_FRESH_S

    def before(self, tree: bytes, device: int) -> Mapped:
        """The mapped files of a tree that is about to be read, from a look at most `_FRESH_S` old.

        tree: its real path.
        device: that it lies on.
        """
        if time.monotonic() - self._looked_at > _FRESH_S:
            self._look()
        return self._of(tree, device)

    def after(self, tree: bytes, device: int) -> Mapped:
        """The mapped files of a tree that was just read, from a new look. Parameters as in `before`."""
        self._look()
        return self._of(tree, device)

    def _look(self) -> None:
        self._found = []
        try:
            processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - a thousand names
        except OSError:
            processes = []
        for process in processes:
            if found := _mappings_of(process):
                is_live = not _stands_still(process)
                self._found += [one._replace(is_live=is_live) for one in found]
        self._looked_at = time.monotonic()

    def _of(self, tree: bytes, device: int) -> Mapped:
        inside = tree.rstrip(b"/") + b"/"
        paths = [(one.path[len(inside) :], one.is_live) for one in self._found if one.path.startswith(inside)]
        inodes = [(one.inode, one.is_live) for one in self._found if one.device == device]
        return Mapped(
            frozenset(path for path, _ in paths),
            frozenset(inode for inode, _ in inodes),
            frozenset(path for path, is_live in paths if is_live),
            frozenset(inode for inode, is_live in inodes if is_live),
        )


def _mappings_of(process: str) -> list[_Mapping]:
    """The writable shared file mappings of a process."""
    try:
        handle = os.open(f"/proc/{process}/maps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # the process has ended, or is another user's
        return []
    try:
        found = _query_mappings(handle)
        return _parse_maps(handle) if found is None else found
    except OSError:
        return []
    finally:
        os.close(handle)


def _query_mappings(maps: int) -> list[_Mapping] | None:
    """The mappings of a process, asked one by one by ioctl, which is fast; None before Linux 6.11."""
    found: list[_Mapping] = []
    name = ctypes.create_string_buffer(_NAME_BYTES)
    query = _Query(size=ctypes.sizeof(_Query), flags=_FLAGS, name_address=ctypes.addressof(name))
    while True:
        query.name_size = _NAME_BYTES
        try:
            fcntl.ioctl(maps, _PROCMAP_QUERY, query)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                return found
            return None
        device = os.makedev(query.major, query.minor)
        found.append(_Mapping(name.raw[: max(query.name_size - 1, 0)], device, query.inode, True))
        query.address = query.end


def _parse_maps(maps: int) -> list[_Mapping]:
    """The mappings of a process, parsed from the text of its `maps` file."""
    parts = []
    while part := os.read(maps, _READ_BYTES):
        parts.append(part)
    content = b"".join(parts)
    if b"s " not in content:
        return []
    return [
        _Mapping(_unescaped(path), os.makedev(int(major, 16), int(minor, 16)), int(inode), True)
        for major, minor, inode, path in _WRITABLE.findall(content)
    ]


def _unescaped(path: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 8)]), path)


def _stands_still(process: str) -> bool:
    """Whether no thread of a process can run: stopped by a signal, or frozen by its control group."""
    try:
        states = [_state(thread) for thread in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return True  # the process has ended
    return all(state in _AT_REST for state in states) or _is_frozen(process)


def _state(thread: Path) -> bytes:
    with suppress(OSError, IndexError):
        return (thread / "stat").read_bytes().rpartition(b")")[2].split()[0]
    return b"X"


def _is_frozen(process: str) -> bool:
    """Whether a control group of the process, of version 2 or 1, is frozen, as container engines do to pause it."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/cgroup").read_text("utf-8", "surrogateescape").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers and "frozen 1" in _read(f"/sys/fs/cgroup{path}/cgroup.events").splitlines():
                return True
            if controllers == "freezer" and _read(f"/sys/fs/cgroup/freezer{path}/freezer.state").strip() == "FROZEN":
                return True
    return False


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""
