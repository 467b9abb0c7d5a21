"""The lock on a workspace's folder itself: one writer on this host, whatever path, MAESTRO_HOME or store leads there.

Locks of the open file description (fcntl) on the folder: they belong to its inode, so a bind mount or another home's
name for it meets the same ones; they end with their holder, however that ends; they write nothing into the folder; and
an agent that calls flock on its own folder is not in their way. A folder cannot be opened for writing, so all locks
are read locks, which do not exclude each other: each writer sets its own first and then looks for those of others. Of
two that meet at least one sees the other, and takes its lock back.

The folders above get a lock of another kind, so that no writer works in a folder that another one works inside.
Stdlib only. Where a system or a file system has no such locks, or the folders above cannot be opened, nothing is held
there: the lock file in MAESTRO_HOME then is the only lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Final

_FLOCK = "hhqqi4x"
_WRITER, _BELOW = 0, 1
"""Bytes of a folder whose locks say: a writer works in this folder; a writer works in one inside it."""
_NO_LOCKS: Final = (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PAUSE_S_MAX = 0.05


class FolderLock:
    """The lock of one writer. path: of the folder, without links."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: list[int] = []
        self._next_at = 0.0

    def take(self) -> bool:
        """Whether the folder is locked now; call again where it is not. Raises OSError for no such folder."""
        if self._held or not hasattr(fcntl, "F_OFD_SETLK"):
            return True
        if time.monotonic() < self._next_at:
            return False
        try:
            self._set()
            if self._is_alone() and self._is_there():
                return True
        except BaseException:
            self.release()
            raise
        self.release()
        self._next_at = time.monotonic() + _PAUSE_S_MAX * os.urandom(1)[0] / 255  # two that met part
        return False

    @property
    def handle(self) -> int | None:
        """A descriptor of the folder while it is locked, else None."""
        return self._held[0] if self._held else None

    def release(self) -> None:
        """Give the lock back."""
        for handle in self._held:
            os.close(handle)
        self._held.clear()

    def _set(self) -> None:
        """Set the locks of this writer: on the folder, and of the other kind on each folder above."""
        self._held.append(os.open(self._path, _FLAGS | os.O_NOFOLLOW))
        _lock(self._held[0], _WRITER)
        for above in list(Path(self._path).parents)[:-1]:
            with contextlib.suppress(OSError):  # it may be another user's, and closed to this one
                self._held.append(os.open(above, _FLAGS))
                _lock(self._held[-1], _BELOW)

    def _is_alone(self) -> bool:
        folder, *above = self._held
        return not _is_locked(folder, _WRITER, 2) and not any(_is_locked(handle, _WRITER, 1) for handle in above)

    def _is_there(self) -> bool:
        """Whether the path still leads to the folder that is locked: an exchange may have come between."""
        held, there = os.fstat(self._held[0]), Path(self._path).lstat()
        return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)


def _lock(handle: int, byte: int) -> None:
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_locked(handle: int, first: int, count: int) -> bool:
    """Whether another writer has a lock there. Asked as for a write lock, with which every lock is at odds."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    try:
        answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
