"""Deletes from a folder exactly what an archive lists of it; a name that is not listed, or has changed, stays.

No folder is emptied as a whole. Each listed name is compared and removed by itself, the deepest first, so that what was
added or changed since the archive was made is never deleted with its folder. Repeating it is harmless.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from maestro.workspaces.archive.format.entries import FILE, FOLDER, SYMLINK, Entry, shown
from maestro.workspaces.descent import FOLDER_FLAGS, Descent

KINDS = {FOLDER: stat.S_ISDIR, FILE: stat.S_ISREG, SYMLINK: stat.S_ISLNK}
NAMED_MAX = 100
CAME = "it came, or was changed, after it was archived"
_NOT_KEPT = (stat.S_ISSOCK, stat.S_ISFIFO, stat.S_ISCHR, stat.S_ISBLK)


class Leftover(msgspec.Struct, frozen=True):
    """A name that is still there. path: printable; why: the reason that it was not removed."""

    path: str
    why: str


class Listing(msgspec.Struct, frozen=True):
    """The content of a folder in an archive. entries: in order of path; left_out: sockets, pipes and devices."""

    entries: Sequence[Entry]
    left_out: Sequence[bytes] = ()


def remove_listed(top: str, listing: Listing) -> list[Leftover]:
    """Remove what is listed from the folder at `top`, but not the folder itself.

    Returns the names that are left in it, at most NAMED_MAX.
    """
    refused: dict[bytes, str] = {}
    handle = os.open(top, FOLDER_FLAGS)
    try:
        _allow(handle)
        with Descent(handle) as descent:
            for path in listing.left_out:
                _try(descent, path, None, refused)
            for entry in reversed(listing.entries):
                if entry.path:
                    _try(descent, entry.path, entry, refused)
        os.fsync(handle)
        with Descent(handle) as descent:
            return [Leftover(shown(path), refused.get(path, CAME)) for path in _remaining(descent)]
    finally:
        os.close(handle)


def _try(descent: Descent, path: bytes, entry: Entry | None, refused: dict[bytes, str]) -> None:
    above, _, name = path.rpartition(b"/")
    try:
        _remove(descent.folder(above), name, entry)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
            refused[path] = error.strerror or str(error)


def _remove(folder: int, name: bytes, entry: Entry | None) -> None:
    """Remove a name if it matches its entry; without an entry, if it is a socket, pipe or device."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not _is_listed(folder, name, found, entry):
        return
    remove = os.rmdir if stat.S_ISDIR(found.st_mode) else os.unlink
    try:
        remove(name, dir_fd=folder)
    except PermissionError:
        _allow(folder)
        remove(name, dir_fd=folder)


def _is_listed(folder: int, name: bytes, found: os.stat_result, entry: Entry | None) -> bool:
    """Whether a name is what its entry says, by kind, size, mtime and link target."""
    if entry is None:
        return any(is_kind(found.st_mode) for is_kind in _NOT_KEPT)
    if not KINDS.get(entry.kind, stat.S_ISREG)(found.st_mode):
        return False
    if entry.kind == FOLDER:
        return True  # rmdir removes a folder only when it is empty
    if entry.mtime != found.st_mtime_ns or (entry.kind == FILE and entry.size != found.st_size):
        return False
    return entry.kind != SYMLINK or os.readlink(name, dir_fd=folder) == entry.target


def _allow(folder: int) -> None:
    """Give the owner all rights on an open folder."""
    mode = os.fstat(folder).st_mode
    if mode & 0o700 != 0o700:
        with suppress(OSError):
            os.fchmod(folder, stat.S_IMODE(mode) | 0o700)


def _remaining(descent: Descent) -> Iterable[bytes]:
    """Yield the names that are left: all that are no folder, and empty folders."""
    todo, told = [b""], 0
    while todo and told < NAMED_MAX:
        path = todo.pop()
        try:
            with os.scandir(descent.folder(path)) as entries:
                found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            found = []
        if path and not found:
            told += 1
            yield path
        for name, is_folder in found:
            inner = path + b"/" + name if path else name
            if is_folder:
                todo.append(inner)
            else:
                told += 1
                yield inner
