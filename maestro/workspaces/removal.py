"""Removes a tree that an agent has made: of any depth, with read-only folders, full of links.

Everything is done through descriptors of open folders. No link is followed and no mount is crossed; a mount point stops
the removal with EXDEV, or EBUSY for a file. Nothing is moved, and nothing recurses. The upper folders of a path and the
current one are kept open; in between, the way back up is `..`, and the folder that it leads to must be the one that the
walk came down through.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from maestro.model.errors import Refused
from maestro.workspaces.folders import FOLDER_FLAGS
from maestro.workspaces.mounts import open_within

_KEPT_OPEN = 48
_AGAIN_MAX = 10_000
_ALL = 0o700


class _Level(NamedTuple):
    """A folder on the way down.

    handle: its descriptor, -1 where it is not kept open.
    identity: its (device, inode).
    todo: names of folders that are still in it.
    """

    name: str
    handle: int
    identity: tuple[int, int]
    todo: list[str]


def empty(folder: int) -> None:
    """Remove everything in an open folder.

    Raises `OSError` naming what cannot be removed, `Refused` where other processes keep filling the folder.
    """
    _make_writable(folder)
    for _ in range(_AGAIN_MAX):
        names = _remove_files(folder)
        if not names:
            return
        for name in names:
            remove(name, folder)
    raise _filling()


def remove(name: str, above: int) -> None:
    """Remove the folder `name` in an open folder, with its content. Absence is no error. Raises as `empty`."""
    levels: list[_Level] = []
    again = 0
    try:
        _enter(levels, name, above)
        while levels:
            level = levels[-1]
            if level.todo:
                _enter(levels, level.todo.pop(), level.handle)
            elif not _leave(levels, above):
                again += 1
                if again > _AGAIN_MAX:
                    raise _filling()
    except OSError as error:
        place = "/".join(
            [*(level.name for level in levels), *([error.filename] if isinstance(error.filename, str) else [])]
        )
        raise OSError(error.errno, error.strerror, place) from None
    finally:
        for level in levels:
            if level.handle >= 0:
                os.close(level.handle)


def open_folder(name: str | Path, above: int | None) -> int:
    """A descriptor of a folder, which is made readable and writable for its owner first.

    above: the open folder that it lies in, on the same mount; None where `name` is a path, to any mount.
    """

    def opened(flags: int) -> int:
        return os.open(name, flags) if above is None else open_within(os.fspath(name), flags, above)

    try:
        handle = opened(FOLDER_FLAGS)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            os.chmod(name, _ALL, dir_fd=above, follow_symlinks=False)
            return opened(FOLDER_FLAGS)
        closed = opened(os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.chmod(f"/proc/self/fd/{closed}", _ALL)  # noqa: PTH101 - a descriptor
            return os.open(".", FOLDER_FLAGS, dir_fd=closed)
        finally:
            os.close(closed)
    try:
        _make_writable(handle)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _enter(levels: list[_Level], name: str, above: int) -> None:
    """Go down into a folder and remove the files in it; does nothing where the folder has vanished."""
    try:
        handle = open_folder(name, above)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # another process put a file in its place
        _unlink(name, above)
        return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        _unlink(name, above)
        return
    found = os.fstat(handle)
    levels.append(_Level(name, handle, (found.st_dev, found.st_ino), []))
    levels[-1].todo.extend(_remove_files(handle))
    if len(levels) > _KEPT_OPEN + 1 and levels[-2].handle >= 0:
        os.close(levels[-2].handle)
        levels[-2] = levels[-2]._replace(handle=-1)


def _leave(levels: list[_Level], above: int) -> bool:
    """Remove the lowest folder and go up to the one above it; False where it was not empty after all."""
    level = levels[-1]
    if len(levels) > 1 and levels[-2].handle < 0:
        levels[-2] = levels[-2]._replace(handle=_open_above(level.handle, levels[-2].identity))
    levels.pop()
    os.close(level.handle)
    at = levels[-1].handle if levels else above
    try:
        os.rmdir(level.name, dir_fd=at)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        _enter(levels, level.name, at)
        return False
    return True


def _open_above(folder: int, expected: tuple[int, int]) -> int:
    """A descriptor of the parent folder, which must have the identity `expected`."""
    handle = open_within("..", FOLDER_FLAGS, folder)
    found = os.fstat(handle)
    if (found.st_dev, found.st_ino) != expected:
        os.close(handle)
        raise Refused("something moves folders in it", where="workspace", mend="stop what uses it, then try again")
    return handle


def _make_writable(folder: int) -> None:
    if stat.S_IMODE(os.fstat(folder).st_mode) & _ALL != _ALL and os.geteuid() != 0:
        os.fchmod(folder, _ALL)


def _remove_files(folder: int) -> list[str]:
    """Remove everything but the folders in a folder; the names of these folders."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            _unlink(name, folder)
    return [name for name, is_folder in found if is_folder]


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _filling() -> Refused:
    return Refused("something keeps writing into it", where="workspace", mend="stop what uses it, then try again")
