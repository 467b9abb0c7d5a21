"""The removal of what an archive holds of a folder, by its list: what is not in it, or is not what it says, stays.

No folder is looked through and emptied: each name of the list is compared and removed for itself, the deepest first, so
that what came or changed since it was archived is never deleted with its folder. Doing it again is harmless.
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


class Left(msgspec.Struct, frozen=True):
    """A name that is still there. path: as it can be printed; why: it was not removed."""

    path: str
    why: str


class Listing(msgspec.Struct, frozen=True):
    """What an archive holds of a folder: entries in order of path; left_out: names that have no content to keep."""

    entries: Sequence[Entry]
    left_out: Sequence[bytes] = ()


def remove_listed(top: str, listing: Listing) -> list[Left]:
    """Remove what is listed from the folder at `top`, and keep that itself. What is left in it, NAMED_MAX at most."""
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
            return [Left(shown(path), refused.get(path, CAME)) for path in _remaining(descent)]
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
    """Remove a name, if it is what its entry says; without one, if it has no content."""
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
    if entry is None:
        return any(is_kind(found.st_mode) for is_kind in _NOT_KEPT)
    if not KINDS.get(entry.kind, stat.S_ISREG)(found.st_mode):
        return False
    if entry.kind == FOLDER:
        return True  # it goes only when it is empty
    if entry.mtime != found.st_mtime_ns or (entry.kind == FILE and entry.size != found.st_size):
        return False
    return entry.kind != SYMLINK or os.readlink(name, dir_fd=folder) == entry.target


def _allow(folder: int) -> None:
    """Let the owner write in an open folder."""
    mode = os.fstat(folder).st_mode
    if mode & 0o700 != 0o700:
        with suppress(OSError):
            os.fchmod(folder, stat.S_IMODE(mode) | 0o700)


def _remaining(descent: Descent) -> Iterable[bytes]:
    """Names that are left: those that are no folder, and folders with nothing in them."""
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
