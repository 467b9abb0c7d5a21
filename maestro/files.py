"""Opens regular files of untrusted origin, without following a link or blocking, and reads them up to a limit.

Archives, exports, checkpoints, segments and journals, whoever made them, are read through this module only. A link, a
pipe, a device or a folder in the place of such a file is refused before a byte of it is read, and a file that is too
large before memory is allocated. Imports the standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFile(OSError):
    """Raised where a path leads to anything but a regular file; strerror says to what."""


def handle(path: str | bytes | Path, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """A descriptor of a regular file.

    dir_fd: the folder that a relative path is relative to.
    follow: follow a link in the last part, for a name that a user gave.

    Raises `NoFile` for anything but a regular file, `OSError` as `os.open`.
    """
    _check(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow).st_mode, path)  # opening some devices has side effects
    found = os.open(path, FLAGS if follow else FLAGS | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        _check(os.fstat(found).st_mode, path)
    except NoFile:
        os.close(found)
        raise
    return found


def _check(mode: int, path: str | bytes | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NoFile(errno.EINVAL, f"it is {kind}, and no regular file", os.fspath(path))


def opened(path: str | bytes | Path, *, follow: bool = False) -> BufferedReader:
    """A regular file, opened for reading. Parameters and errors as of `handle`."""
    return os.fdopen(handle(path, follow=follow), "rb")


def content(path: str | bytes | Path, bytes_max: int) -> bytes:
    """The whole content of a small file.

    Raises `OSError` as `handle` does, and where the file has more than `bytes_max` bytes.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > bytes_max:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than {bytes_max:,}", os.fspath(path))
        return file.read(size)


def check_plain(folder: Path) -> None:
    """Check that a folder contains only folders and regular files, at any depth.

    Raises `NoFile` naming anything else.
    """
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    raise NoFile(errno.EINVAL, "it is no regular file and no folder", entry.path)
