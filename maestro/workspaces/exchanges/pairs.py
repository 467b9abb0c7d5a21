"""A pair of a stage and the folder that it replaces, whose state is known by the identities of both folders.

Putting a pair forward or back may be repeated at will. After a restart of the machine a device may have another number;
a folder recorded before it is then recognised by its inode alone, as both folders of a pair lie side by side.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import msgspec

from maestro.model.errors import Refused
from maestro.model.restore import PlaceFate as Fate

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EXCHANGE = 2
_AT_FDCWD = -100
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_libc = ctypes.CDLL(None, use_errno=True)

Identity = tuple[int, int]
"""(device, inode) of a folder."""


OLD, LEAVING, ENTERING, NEW = "old", "leaving", "entering", "new"
FATES: dict[str, Fate] = {OLD: "old", NEW: "new"}


class Pair(msgspec.Struct):
    """A stage and its target, the folder that it replaces.

    new, old: identities of the stage and the old folder; None where it is absent.
    boot: boot id of the machine when these were recorded.
    inside: the target cannot be exchanged as a whole, so the stage lies in it (`entrywise`).
    phase: progress of an exchange entry by entry.
    names: of the entries that are to move in.
    times: mtime of the target, old and new, in ns.
    """

    stage: str
    target: str
    new: Identity | None = None
    old: Identity | None = None
    boot: str = ""
    inside: bool = False
    phase: str = OLD
    names: list[bytes] = []
    times: tuple[int, int] = (0, 0)

    @property
    def aside(self) -> str:
        """Where the old content lies meanwhile."""
        return f"{self.stage}-old"

    @property
    def fate(self) -> Fate:
        """What lies at the target now: `new`, `old` (also where both are absent), or `lost` for neither."""
        if self.inside:
            return FATES.get(self.phase, "lost")
        return fate(identity(self.target), self.new, self.old, self.boot)

    @property
    def holds_old(self) -> bool:
        """Whether the old folder lies at the stage, and the new one is not at the target."""
        return is_same(identity(self.stage), self.old, self.boot) and self.fate != "new"


def fate(now: Identity | None, new: Identity | None, old: Identity | None, boot: str) -> Fate:
    """Which of the recorded folders lies at a target now. now: identity of what is there."""
    if is_same(now, new, boot):
        return "new"
    return "old" if is_same(now, old, boot) or (now is None and old is None) else "lost"


def why_lost(target: str, fate: Fate) -> str:
    """Why the new folder is not at its target."""
    if fate == "old":
        return "what was to be put there is gone; it is as it was"
    return "another folder is in its place" if os.path.lexists(target) else "the folder is gone"


def is_same(found: Identity | None, recorded: Identity | None, boot: str) -> bool:
    """Whether a folder is the recorded one. boot: the boot id at which it was recorded."""
    if found is None or recorded is None:
        return False
    return found == recorded or (bool(boot) and boot != boot_id() and found[1] == recorded[1])


def identity(path: str) -> Identity | None:
    """The identity of the folder at a path; None where nothing is there."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def boot_id() -> str:
    """The id of the machine's current boot; "" where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def put(pair: Pair, forward: bool) -> None:
    """Put the new folder at the target and the old one at the stage, or (not `forward`) the other way round.

    Raises `OSError`, and `Refused` where an unknown folder lies at the target.
    """
    wanted = pair.new if forward else pair.old
    now = identity(pair.target)
    if pair.fate == "lost" and now is not None:
        mend = "move it away, then run this again"
        raise Refused(f"{pair.target!r} is another folder than the one that was restored", "restore", mend)
    if not (is_same(now, wanted, pair.boot) or (now is None and wanted is None)):
        _move(pair, wanted, now is None)
    aside = f"{pair.stage}-old"
    if identity(aside) is not None and identity(pair.stage) is None:
        Path(aside).rename(pair.stage)


def _move(pair: Pair, wanted: Identity | None, is_absent: bool) -> None:
    """Rename folders so that the wanted one lies at the target; None: nothing."""
    aside = f"{pair.stage}-old"
    if wanted is None:
        Path(pair.target).rename(pair.stage)
    elif not is_same(identity(pair.stage), wanted, pair.boot):
        if not is_same(identity(aside), wanted, pair.boot):
            raise FileNotFoundError(errno.ENOENT, "the folder is gone", pair.stage)
        Path(aside).rename(pair.target)
    elif is_absent:
        Path(pair.stage).rename(pair.target)
    elif not exchange_folders(pair.stage, pair.target):
        Path(pair.target).rename(aside)
        Path(pair.stage).rename(pair.target)


def exchange_folders(one: str, other: str) -> bool:
    """Exchange two folders in one system call; False where the system cannot."""
    if not hasattr(_libc, "renameat2"):
        return False
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), other)
