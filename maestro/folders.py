"""Folders and sockets of Maestro's own, checked on every open: this user's, no symlink, not for all to write.

On a shared /tmp another user may have made such a folder first. Stdlib only, as config.py.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from maestro.model.errors import Invalid, Refused

SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
SHORT_PARENT = Path("/tmp")


def private_folder(path: Path, name: str, *, tighten: bool = False) -> Path:
    """The folder, created 0700 if absent, checked to be this user's own. name: what to call it in an error.

    Raises `Refused` for another owner, a symlink or a folder that all may write; `Invalid` if it is no folder or
    cannot be made. tighten: an existing folder is set to 0700, for folders that are Maestro's alone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as failure:
        if path.is_symlink():
            raise Refused(f"{path} is a symlink", name, "name the folder itself") from None
        if failure.errno in (errno.EEXIST, errno.ENOTDIR):
            raise Invalid(f"{path} is, or lies below, a file", name, "name a folder") from None
        if isinstance(failure, PermissionError) and path.is_dir() and path.stat().st_uid != os.geteuid():
            raise Refused(f"{path} is owned by another user", name, "name a folder of your own") from None
        raise Invalid(f"{path}: {failure.strerror}", name, "name a folder that you can write") from None
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise Refused(f"{path} is owned by another user (uid {found.st_uid})", name, "name a folder of your own")
        if tighten and stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
        elif not tighten and found.st_mode & stat.S_IWOTH:
            raise Refused(f"{path} can be written by every user", name, f"chmod o-w {path}")
    finally:
        os.close(descriptor)
    return path


class HeldFolder:
    """A folder as it is now, held open: as long as it is, no folder made later can have its inode.

    A file system gives the inode of a folder that was removed to the next one that is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    @property
    def stands(self) -> bool:
        """Whether it still is what its path leads to."""
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Hold it no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def socket_path(home: Path, name: str) -> Path:
    """Where the socket `name` (such as `daemon.sock`, `store/store.sock`) of this home lies, in a folder of its own.

    Below the home if the path fits into a socket address, else below /tmp/maestro-<uid>/<hash of home>/. That is not
    in XDG_RUNTIME_DIR, which goes at logout and is unset under cron: each process must find the same path.
    Raises `Refused` when the folder in /tmp is somebody else's.
    """
    path = home / name
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    import hashlib  # 2 ms that the usual, short path does not pay

    owned = private_folder(SHORT_PARENT / f"maestro-{os.geteuid()}", "short socket folder", tighten=True)
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()
    short = private_folder(owned / digest[:16], "short socket folder", tighten=True)
    return short / name.replace("/", "-")
