"""A file that grows while a run prints, and is made again, whole, where somebody removes it meanwhile. Stdlib only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class OutFile:
    """Open for writing; for its owner only. Raises OSError where that cannot be, as all its methods do."""

    def __init__(self, path: str, append: bool = False) -> None:
        self._path = path
        self._fd = _opened(path, 0 if append else os.O_TRUNC)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return os.fstat(self._fd).st_size

    def write(self, text: bytes) -> int:
        """How many bytes were written: not always all."""
        return os.write(self._fd, text)

    def mend(self) -> None:
        """What was written lies at the path again, its folder included, should it have been removed."""
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
        """Doing it again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Close it, and have it gone."""
        self.close()
        Path(self._path).unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """A folder of a run that was there and is gone, with those above it. Raises OSError, PermissionError where one of
    them is a link, or somebody else's who is not the superuser: in a shared /tmp others make folders, too.
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
    """Of what lies at a path, itself where it is a link; (0, 0) for nothing."""
    try:
        found = Path(path).lstat()
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
