"""Makes Maestro's own folders and socket paths, checked on every open: this user's, no symlink, not world-writable.

That protects against other users of a shared /tmp. `config` imports this module, and each command pays for that:
besides the error types, it imports the standard library only.
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
    """The folder at `path`, created 0700 if absent, and checked to be this user's own.

    name: what to call the folder in an error.
    tighten: set an existing folder to 0700, for folders that only Maestro uses.

    Raises `Refused` for another owner, a symlink or a world-writable folder; `Invalid` if it is no folder or cannot be
    made.
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
    """An open descriptor of a folder, which keeps the folder's inode from being reused.

    A file system gives the inode of a removed folder to the next one that is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    @property
    def stands(self) -> bool:
        """Whether the path still leads to the same folder."""
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def socket_path(home: Path, name: str) -> Path:
    """The path of the socket `name` (such as `daemon.sock`, `store/store.sock`) of this home.

    Below the home if the path fits into a socket address, else below /tmp/maestro-<uid>/<hash of home>/.
    XDG_RUNTIME_DIR is not used, as it is removed at logout and unset under cron: each process must find the same path.
    Raises `Refused` when the folder in /tmp is another user's.
    """
    path = home / name
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    import hashlib  # 2 ms that the usual, short path need not spend

    owned = private_folder(SHORT_PARENT / f"maestro-{os.geteuid()}", "short socket folder", tighten=True)
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()
    short = private_folder(owned / digest[:16], "short socket folder", tighten=True)
    return short / name.replace("/", "-")
