"""A file that grows while a run prints, and is made again, whole, where somebody removes it meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class OutFile:
    """A file of a run, open for writing, for its owner only. Its methods raise OSError, as making it does."""

    def __init__(self, path: str, append: bool = False) -> None:
        self._path = path
        self._fd = _opened(path, 0 if append else os.O_TRUNC)

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return os.fstat(self._fd).st_size

    def write(self, text: bytes) -> int:
        """Append bytes; how many were written, not always all."""
        return os.write(self._fd, text)

    def mend(self) -> None:
        """Make the file again, with all that was written and its folder, where somebody has removed it."""
        if self._fd < 0:
            return
        ours = os.fstat(self._fd)
        if (ours.st_dev, ours.st_ino) == identity(self._path):
            return
        make_folder(Path(self._path).parent)
        fresh = _opened(self._path, os.O_TRUNC)
        position = 0
        while chunk := os.pread(self._fd, CHUNK_BYTES, position):
            position += len(chunk)
            while chunk:
                chunk = chunk[os.write(fresh, chunk) :]
        os.close(self._fd)
        self._fd = fresh

    def close(self) -> None:
        """Close the file. Doing it again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Close the file, and remove it."""
        self.close()
        Path(self._path).unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder of a run that somebody has removed, with those above it.

    Raises OSError, and PermissionError where one of them is a link, or belongs to a user who is not the superuser: in a
    shared /tmp others make folders, too.
    """
    for path in [*reversed(folder.parents), folder]:
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            try:
                found = path.lstat()
            except OSError:
                raise error from None
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                raise PermissionError(f"{path} is not a folder of this user's") from None


def _opened(path: str, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)


def identity(path: str | Path) -> tuple[int, int]:
    """Device and inode of what lies at a path, of a link itself; (0, 0) for nothing."""
    try:
        found = Path(path).lstat()
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
