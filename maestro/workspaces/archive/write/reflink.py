"""Copies one file as it is at one moment, by a reflink: a copy that shares blocks with the original.

XFS writes a file's mapped pages back and holds writers meanwhile, so a copy has what was in the file at one moment,
whoever has it mapped. Btrfs copies as well but does not hold writers (Linux 6.18: in a file of 19 MB the end was 33
passes of its writer newer than the beginning), so a copy there would prove nothing. The copy has no name, and is gone
when it is closed.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence

from maestro.workspaces.archive.format.entries import Entry, Piece
from maestro.workspaces.archive.write.file_reader import Keep, by_place, read_content, xattrs
from maestro.workspaces.mounts import file_system_of, open_within

_FICLONE = 0x40049409
_AT_ONE_MOMENT = {"xfs"}
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_reflink(
    folder: int, name: bytes, entry: Entry, keep: Keep, before: Sequence[Piece] | None = None
) -> os.stat_result | None:
    """Read a file by way of a reflink, as `file_reader.read_file` does.

    Returns None where no reflink can be made; then nothing was kept, and the entry is unchanged.
    """
    try:
        original = open_within(name, _FLAGS, folder)
    except OSError:
        return None
    try:
        found = os.fstat(original)
        copy = _copy(original, folder) if stat.S_ISREG(found.st_mode) else None
        if copy is None:
            return None
        try:
            entry.mode, entry.uid, entry.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
            entry.mtime, entry.xattrs = found.st_mtime_ns, xattrs(original)
            content = os.fstat(copy)
            read_content(copy, content, entry, keep, by_place(before))
            return found if entry.size == content.st_size else None
        finally:
            os.close(copy)
    except OSError:
        return None
    finally:
        os.close(original)


def _copy(original: int, folder: int) -> int | None:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or file_system_of(original) not in _AT_ONE_MOMENT:
        return None
    try:
        copy = os.open(b".", flag | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:
        return None
    try:
        fcntl.ioctl(copy, _FICLONE, original)
    except OSError:
        os.close(copy)
        return None
    return copy
