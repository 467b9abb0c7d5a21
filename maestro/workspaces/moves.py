"""Moves the entries of one folder into another folder of the same mount, one by one, overwriting nothing.

For folders that cannot be moved as a whole: mount points, and folders whose parent cannot be written. Each move is one
rename, and an entry that was moved is not in the source any more, so a repetition after a crash is harmless.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection
from contextlib import suppress

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
UNMOVABLE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a rename for a folder that is a mount point, or whose parent cannot be written."""

_NOREPLACE = 1
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_libc = ctypes.CDLL(None, use_errno=True)


def move_entries(source: int, target: int, but: Collection[str] = ()) -> None:
    """Move all entries of the open folder `source`, except `but`, into `target`, and fsync both.

    Raises `OSError` for the first entry that cannot be moved, with its name; entries moved before stay moved.
    """
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries if entry.name not in but]
    for name in names:
        move(name, source, target)
    os.fsync(target)
    os.fsync(source)


def move(name: str, source: int, target: int) -> None:
    """Move one entry from an open folder to another. Raises `OSError`; EEXIST where that name exists there."""
    if hasattr(_libc, "renameat2"):
        if _libc.renameat2(source, os.fsencode(name), target, os.fsencode(name), _NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code), name)
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=target, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def copy_metadata(source: int, target: int) -> None:
    """Give the open folder `target` the owner (as root), attributes and mode of `source`. Raises `OSError`."""
    found = os.fstat(source)
    if os.geteuid() == 0:
        os.fchown(target, found.st_uid, found.st_gid)
    if hasattr(os, "listxattr"):
        with suppress(OSError):  # no attributes on this file system, or no right to set them
            for name in os.listxattr(source):
                with suppress(OSError):
                    os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, found.st_mode & 0o7777)
