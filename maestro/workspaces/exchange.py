"""Putting stages in the place of workspaces: each wholly old or wholly new, whenever the process ends.

A journal says first which stages there are (so that they can be swept), then that they take their places (so that it
is done to the end). What has been done is known by the inodes, not by the journal's memory: doing it again is
harmless. Where the system cannot exchange two folders, the old one is moved aside first, and the journal mends that.
One exchange at a time for a journal: the lock is a flock, which ends with the process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from maestro import files
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.workspaces.cleaning import remove_tree

_JOURNAL_BYTES_MAX = 1 << 28
STAGE_PREFIX = ".maestro-stage-"
_EXCHANGE = 2
_AT_FDCWD = -100
_NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_libc = ctypes.CDLL(None, use_errno=True)

Identity = tuple[int, int]


class Pair(msgspec.Struct):
    """A stage and the folder whose place it takes. new, old: (device, inode) of each; None where it is absent."""

    stage: str
    target: str
    new: Identity | None = None
    old: Identity | None = None


class Journal(msgspec.Struct):
    """state: `staging` (the stages go), `exchanging` (they take their places), `undoing` (they give them back)."""

    state: str
    pairs: list[Pair]


class Exchange:
    """One exchange, as a context: make stages, fill them, `commit`. Left without, everything is as it was.

    Opening it first completes or sweeps what a process that is gone has left. Raises `Refused` where another one is
    under way, `VerificationFailed` for a journal that cannot be read.
    """

    def __init__(self, journal: str | Path) -> None:
        self._folder = private_folder(Path(journal), "restore journal", tighten=True)
        self._path = self._folder / "journal"
        self._journal = Journal("staging", [])
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.completed = self._recover()
        except BlockingIOError:
            os.close(self._lock)
            raise Refused("another restore is under way", str(self._folder), "wait for its end") from None
        except BaseException:
            os.close(self._lock)
            raise

    def stage(self, target: str | Path) -> str:
        """Where to make the stage for `target`: beside it, recorded, and not there yet."""
        above = os.path.realpath(Path(target).parent)
        place = f"{above}/{Path(target).name}"
        self._add(Pair(f"{above}/{STAGE_PREFIX}{secrets.token_hex(6)}", place))
        return self._journal.pairs[-1].stage

    def adopt(self, stage: str | Path, target: str | Path) -> None:
        """Use a stage that lies beside its target already."""
        self._add(Pair(os.path.abspath(stage), os.path.abspath(target)))  # noqa: PTH100 - links are not followed

    def forget(self, stage: str | Path) -> None:
        """Leave a stage out: its target stays as it is. What is left of the stage is removed."""
        remove_tree(stage)
        self._journal.pairs = [pair for pair in self._journal.pairs if pair.stage != str(stage)]
        self._write("staging")

    def commit(self) -> None:
        """The stages take the places of their targets, and what was there is removed.

        After this returns, or after a crash and `roll_forward`, all are new. Raises `Refused` where one cannot take its
        place: then all are old.
        """
        for pair in self._journal.pairs:
            _identify(pair)
        for pair in self._journal.pairs:
            _sync_file_system(pair.stage)
        self._write("exchanging")
        try:
            self._place()
        except OSError as error:
            self._write("undoing")
            self._place()
            self._discard()
            what = f"{error.filename or 'a stage'!r} cannot take its place: {error.strerror}"
            raise Refused(what, "restore", "mend that, then try again; nothing was changed") from None
        self._discard()

    def drop(self) -> bool:
        """Remove the stages; whether all is as it was. It is not where an exchange was broken off."""
        if self._journal.pairs and self._journal.state == "staging":
            self._discard()
        return not self._journal.pairs

    def close(self) -> None:
        """As `drop`, and let others restore. The next one to open the journal completes what was broken off."""
        try:
            self.drop()
        finally:
            if self._lock >= 0:
                os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, pair: Pair) -> None:
        self._journal.pairs.append(pair)
        self._write("staging")

    def _recover(self) -> list[str]:
        """Complete what was begun; the targets that are new now."""
        try:
            content = files.content(self._path, _JOURNAL_BYTES_MAX)
        except FileNotFoundError:
            return []
        except OSError as error:
            mend = "look at what lies there, then remove it"
            raise VerificationFailed(f"the journal cannot be read: {error.strerror}", str(self._path), mend) from None
        try:
            self._journal = msgspec.json.decode(content, type=Journal)
        except msgspec.MsgspecError as error:
            mend = "look at the folders that it names, then remove it"
            raise VerificationFailed(f"the journal cannot be read: {error}", str(self._path), mend) from None
        state = self._journal.state
        if state != "staging":
            self._place()
        done = [pair.target for pair in self._journal.pairs] if state == "exchanging" else []
        self._discard()
        return done

    def _place(self) -> None:
        """Put every pair as the state says, whatever has been done of it."""
        forward = self._journal.state == "exchanging"
        for pair in self._journal.pairs:
            _put(pair, pair.new if forward else pair.old)
            _sync(str(Path(pair.target).parent))

    def _discard(self) -> None:
        for pair in self._journal.pairs:
            with suppress(MaestroError):  # what cannot be removed is left; it is not what was asked for
                remove_tree(pair.stage)
        self._journal = Journal("staging", [])
        self._path.unlink(missing_ok=True)
        _sync(str(self._folder))

    def _write(self, state: str) -> None:
        self._journal.state = state
        fresh = self._folder / "journal.fresh"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(self._journal))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        _sync(str(self._folder))


def exchange(journal: str | Path, pairs: Sequence[tuple[str | Path, str | Path]]) -> None:
    """Put stages in the places of their targets, all or none: see `Exchange`. pairs: (stage, target), side by side."""
    with Exchange(journal) as one:
        for stage, target in pairs:
            one.adopt(stage, target)
        one.commit()


def check_place(target: str | Path) -> None:
    """A stage can be made for `target` and take its place, as far as can be told now. Raises `Refused`."""
    target = Path(target)
    above = next(folder for folder in target.parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise Refused(f"{str(above)!r} cannot be written", where="restore", mend="change its mode or owner")
    if not os.path.lexists(target):
        return
    if not stat.S_ISDIR(target.lstat().st_mode):
        raise Refused(f"{str(target)!r} is no folder", where="restore", mend="remove it, or name another workspace")
    if target.lstat().st_dev != above.stat().st_dev:
        what = f"{str(target)!r} is a mount point, so no folder can take its place"
        raise Refused(what, where="restore", mend="use a folder below it as the workspace")


def roll_forward(journal: str | Path) -> list[str]:
    """Complete the exchange that a process which is gone had begun, and sweep its stages; the targets that are new."""
    with Exchange(journal) as one:
        return one.completed


def _identify(pair: Pair) -> None:
    pair.new = _identity(pair.stage)
    pair.old = _identity(pair.target)
    if pair.new is None:
        raise Refused(f"the stage {pair.stage!r} is not there", where="restore")
    above = Path(pair.target).parent
    if Path(pair.stage).parent != above:
        raise Refused(f"the stage {pair.stage!r} does not lie beside {pair.target!r}", where="restore")
    if pair.old is not None and not stat.S_ISDIR(os.lstat(pair.target).st_mode):
        raise Refused(f"{pair.target!r} is no folder", where="restore", mend="remove it, or name another workspace")
    if pair.old is not None and pair.old[0] != pair.new[0]:
        what = f"{pair.target!r} is a mount point, so no folder can take its place"
        raise Refused(what, where="restore", mend="use a folder below it as the workspace")
    if not os.access(above, os.W_OK | os.X_OK):
        raise Refused(f"{str(above)!r} cannot be written", where="restore", mend="change its mode or owner")


def _put(pair: Pair, wanted: Identity | None) -> None:
    """Let `target` be the folder with this identity, or absent; the other one is at `stage` then."""
    aside = f"{pair.stage}-old"
    now = _identity(pair.target)
    if now not in (None, pair.old, pair.new):
        mend = "move it away, then run this again"
        raise Refused(f"{pair.target!r} is another folder than the one that was restored", "restore", mend)
    if now != wanted:
        if wanted is None:
            Path(pair.target).rename(pair.stage)
        elif _identity(pair.stage) != wanted:
            if _identity(aside) != wanted:
                raise FileNotFoundError(errno.ENOENT, "the folder is gone", pair.stage)
            Path(aside).rename(pair.target)
        elif now is None:
            Path(pair.stage).rename(pair.target)
        elif not _exchanged(pair.stage, pair.target):
            Path(pair.target).rename(aside)
            Path(pair.stage).rename(pair.target)
    if _identity(aside) is not None and _identity(pair.stage) is None:
        Path(aside).rename(pair.stage)


def _exchanged(one: str, other: str) -> bool:
    """Exchange two folders at once; False where the system cannot."""
    if not hasattr(_libc, "renameat2"):
        return False
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), other)


def _identity(path: str) -> Identity | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file_system(path: str) -> None:
    """All that was written into the stage is on the disk before it takes a place."""
    if not hasattr(_libc, "syncfs"):
        os.sync()
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _libc.syncfs(handle)
    finally:
        os.close(handle)
