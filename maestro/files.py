"""Regular files from anywhere: opened without following a link or waiting, read no further than they are long.

The one door for what is read out of an archive, an export, a checkpoint, a segment or a journal, whoever made it: a
link, a pipe, a device or a folder in the place of such a file is refused before a byte of it is asked for, and memory
is bounded before it is taken. Stdlib only, as config.py.
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
    """What lies there is no regular file. strerror says what it is."""


def handle(path: str | bytes | Path, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """A descriptor of a regular file. follow: the name is a person's own, who may mean a link.

    Raises `NoFile` for anything else, `OSError` as `os.open`.
    """
    _check(os.stat(path, dir_fd=dir_fd, follow_symlinks=follow).st_mode, path)  # some devices do things when opened
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
    """A regular file to read. See `handle`."""
    return os.fdopen(handle(path, follow=follow), "rb")


def content(path: str | bytes | Path, bytes_max: int) -> bytes:
    """All of a small file. Raises `OSError` as `handle`, and where it has more than `bytes_max`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > bytes_max:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than {bytes_max:,}", os.fspath(path))
        return file.read(size)


def check_plain(folder: Path) -> None:
    """Below this folder there is nothing but folders and regular files. Raises `NoFile` naming another thing."""
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    raise NoFile(errno.EINVAL, "it is no regular file and no folder", entry.path)
