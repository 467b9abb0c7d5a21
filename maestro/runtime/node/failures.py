"""Errors for the user: found in the groups that nurseries wrap errors in, and made of what the system reports."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from maestro.model.errors import MaestroError

_MENDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EROFS: "mount it writable, or name another folder",
    errno.EIO: "see what is wrong with the disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close files: the machine has no more of them",
    errno.ENOMEM: "free some memory",
}
"""Errors of the system that are never a defect of Maestro, with what the user can do."""
_MENDS_NAMED = {
    errno.ENOENT: "put it back",
    errno.ENOTDIR: "put the folder back",
    errno.ESTALE: "mount it again",
    errno.EACCES: "mend its rights",
    errno.EPERM: "mend its rights",
}
"""Errors of the system that are no defect where it names a path, with what the user can do."""
_FULL_BYTES_MAX = 64 * 1024


def user_error(error: BaseException) -> MaestroError | None:
    """The first error that the user can act on, also inside of groups; None where all is a defect."""
    parts = list(_parts(error))
    known = next((part for part in parts if isinstance(part, MaestroError)), None)
    if known is not None:
        return known
    return next((found for part in parts if isinstance(part, OSError) and (found := surroundings(part))), None)


def _parts(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _parts(part)
    else:
        yield error


def surroundings(error: OSError) -> MaestroError | None:
    """The system's error for the user: no room, no rights, a folder that is gone. None for a defect."""
    number = error.errno or 0
    mend = _MENDS.get(number) or (_MENDS_NAMED.get(number) if error.filename else None)
    if mend is None:
        return None
    return MaestroError(error.strerror or os.strerror(number), _name(error.filename), mend)


def placed(error: MaestroError, folders: Iterable[Path]) -> MaestroError:
    """The error of a full disk that names no place, with the first full folder of these."""
    if not error.where and error.mend in (_MENDS[errno.ENOSPC], _MENDS[errno.EDQUOT]):
        error.where = next((str(folder) for folder in folders if _is_full(folder)), "")
    return error


def _is_full(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES_MAX


def _name(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, (str, bytes, os.PathLike)) else ""
