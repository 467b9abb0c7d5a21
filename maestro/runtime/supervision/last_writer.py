"""The last writer of a folder: which lock file its warden held, of all the homes of this user on this host.

A killed warden loses its lock on the folder, but the processes that it guarded may live on. In its own home the next
holder of the lock file kills them; a warden of another home learns here where their record is: in a small file for each
folder, named by device and inode, that holds the path of the lock file. It need not outlive a restart of the machine.
Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_PLACE = "/tmp"
"""A place that each process of this user knows, whatever its environment; it is checked to be this user's."""
_PATH_BYTES_MAX = 4096


class LastWriter:
    """The last writer of the folder that a descriptor is open on."""

    def __init__(self, folder: int) -> None:
        found = os.fstat(folder)
        self._name = f"{found.st_dev:x}-{found.st_ino:x}"

    def lock_file(self) -> str:
        """The path of the lock file whose holder wrote the folder last; "" where that is not known."""
        with contextlib.suppress(OSError):
            place = _place()
            try:
                handle = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            finally:
                os.close(place)
            try:
                return os.fsdecode(os.read(handle, _PATH_BYTES_MAX))
            finally:
                os.close(handle)
        return ""

    def note(self, lock_file: str) -> None:
        """Note that the holder of this lock file writes the folder from now on."""
        with contextlib.suppress(OSError):
            place, new = _place(), f"{self._name}.{os.getpid()}"
            try:
                handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=place)
                try:
                    os.write(handle, os.fsencode(lock_file))
                finally:
                    os.close(handle)
                os.rename(new, self._name, src_dir_fd=place, dst_dir_fd=place)
            finally:
                os.close(place)


def _place() -> int:
    """The folder of all these files, made if absent. Raises OSError where it is not this user's alone."""
    user = os.geteuid()
    path = f"{_PLACE}/maestro-{user}"
    for folder in (path, f"{path}/writers"):
        try:
            found = os.lstat(folder)  # first: each run asks, and a mkdir has to lock the folder above for all
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                Path(folder).mkdir(0o700)
            found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022:
            raise PermissionError(folder)
    return os.open(f"{path}/writers", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
