"""Swaps stages in for workspaces, atomically for each workspace, whenever the process ends.

A journal first records the stages (so that they can be swept), then that they are being swapped in (so that this is
completed). Progress is known by the inodes of the folders, not from the journal, so every step may be repeated. Where
the system cannot exchange two folders in one call, the old one is moved aside first, and the journal repairs an
interruption. A folder that cannot be exchanged as a whole is replaced entry by entry (`entrywise`).

A journal that cannot be carried out forward is carried out backward. Where neither is possible (a folder has vanished,
or another one has taken its place), it is carried out forward as far as possible, and the lost workspaces are named. It
always ends. One journal has one exchange at a time: the lock is a flock, which ends with the process.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from maestro import files
from maestro.durable import lock_file, replace, sync_folder
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.restore import broken_off
from maestro.workspaces.cleaning import remove_tree
from maestro.workspaces.exchanges import entrywise, leftovers
from maestro.workspaces.exchanges.leftovers import Leftover
from maestro.workspaces.exchanges.pairs import Pair, put, why_lost
from maestro.workspaces.exchanges.places import check_apart, identify, moved_mounts

_JOURNAL_BYTES_MAX = 1 << 28
STAGE_PREFIX = ".maestro-stage-"
_libc = ctypes.CDLL(None, use_errno=True)


class Lost(NamedTuple):
    """A workspace that has its old content while others have new, or that has neither."""

    target: str
    why: str


class Journal(msgspec.Struct):
    """The journal of an exchange.

    state: `staging`: the stages are to be removed; `exchanging`: they are swapped in; `undoing`: they are swapped back.
    """

    state: str
    pairs: list[Pair]


class Exchange:
    """One exchange, as a context: make stages, fill them, `commit`. Leaving it without `commit` changes nothing.

    Opening it first completes, undoes or sweeps the exchange of a process that has died.

    completed: targets that are new now.
    lost: targets that are neither old nor new, or old while others are new.
    left: old folders that cannot be removed.

    Raises `Refused` where another exchange is under way, `VerificationFailed` for a journal that cannot be read.
    """

    def __init__(self, journal: str | Path) -> None:
        self._folder = private_folder(Path(journal), "restore journal", tighten=True)
        self._path = self._folder / "journal"
        self._journal = Journal("staging", [])
        self._inside: set[str] = set()
        self.completed: list[str] = []
        self.lost: list[Lost] = []
        self.left: list[str] = []
        lock = lock_file(self._folder / "lock")
        if lock is None:
            raise Refused("another restore is under way", str(self._folder), "wait for its end")
        self._lock = lock
        try:
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise

    def stage(self, target: str | Path) -> str:
        """The path at which to make the stage for `target`, beside it or in it; recorded, and not there yet."""
        return self.stages([target])[0]

    def stages(self, targets: Iterable[str | Path]) -> list[str]:
        """The paths at which to make the stages for these targets, as `stage`; all are recorded at once."""
        fresh = [_pair(target) for target in targets]
        self._add(*fresh)
        return [pair.stage for pair in fresh]

    def mark(self, stage: str) -> str:
        """The file that records the outcome of an exchange entry by entry; "" for a folder exchanged as a whole."""
        return str(self._folder / Path(stage).name) if stage in self._inside else ""

    def forget(self, stage: str | Path) -> None:
        """Leave a stage out of the exchange and remove it; its target stays as it is."""
        remove_tree(stage)
        self._journal.pairs = [pair for pair in self._journal.pairs if pair.stage != str(stage)]
        self._write("staging")

    def commit(self) -> None:
        """Swap the stages in for their targets, and remove the old folders.

        After this returns, or once the next `Exchange` of this journal was made after a crash, all targets are new.
        Raises `Refused` where one cannot be swapped: then all are old, except those in `lost`.
        """
        pairs = self._journal.pairs
        for pair in pairs:
            identify(pair)
        check_apart(pairs)
        for stage in {os.lstat(pair.stage).st_dev: pair.stage for pair in pairs}.values():
            _sync_file_system(stage)
        self._write("exchanging")
        why = self._carry_out("exchanging")
        self._discard()
        if len(self.completed) < len(pairs):
            changed = "; nothing was changed" if not self.completed and not self.lost else ""
            raise Refused(why, "restore", f"mend that, then try again{changed}")

    def drop(self) -> bool:
        """Remove the stages; whether everything is as it was. It is not after an interrupted swap."""
        if self._journal.pairs and self._journal.state == "staging":
            self._discard()
        return not self._journal.pairs

    def close(self) -> None:
        """Remove the stages as `drop` does, and release the lock. The next `Exchange` completes an interrupted swap."""
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

    def _add(self, *pairs: Pair) -> None:
        self._journal.pairs += pairs
        self._inside |= {pair.stage for pair in pairs if pair.inside}
        self._write("staging")

    def _recover(self) -> None:
        """Complete, undo or sweep what the journal says."""
        try:
            content = files.content(self._path, _JOURNAL_BYTES_MAX)
        except FileNotFoundError:
            return
        except OSError as error:
            mend = "look at what lies there, then remove it"
            raise VerificationFailed(f"the journal cannot be read: {error.strerror}", str(self._path), mend) from None
        try:
            self._journal = msgspec.json.decode(content, type=Journal)
        except msgspec.MsgspecError as error:
            mend = f"look at the folders that it names; `rm {self._path}` gives it up and leaves them as they are"
            raise VerificationFailed(f"the journal cannot be read: {error}", str(self._path), mend) from None
        if self._journal.state != "staging":
            self._carry_out(self._journal.state)
        self._discard()

    def _carry_out(self, state: str) -> str:
        """Carry the journal out as `state` says; else the other way; where neither is possible, as far as it goes.

        Returns why it was not done as `state` says, "" where it was.
        """
        other = "undoing" if state == "exchanging" else "exchanging"
        why = self._put_pairs()
        if state == "exchanging" and not why:
            why = moved_mounts(self._journal.pairs)
        for turned in (other, state) if why else ():
            self._write(turned)
            if not self._put_pairs():
                break
        fates = {pair.target: pair.fate for pair in self._journal.pairs}
        self.completed = [target for target, fate in fates.items() if fate == "new"]
        self.lost = [Lost(target, why_lost(target, fates[target])) for target in broken_off(fates).left]
        return why

    def _put_pairs(self) -> str:
        """Put every pair as the journal's state says, whatever was done before; the first reason that one cannot be."""
        forward = self._journal.state == "exchanging"
        why = ""
        for pair in self._journal.pairs:
            try:
                if pair.inside:
                    entrywise.put_entries(pair, forward, self._save)
                    continue
                put(pair, forward)
                sync_folder(str(Path(pair.target).parent))
            except OSError as error:
                why = why or f"{error.filename or 'a stage'!r} cannot take its place: {error.strerror}"
            except MaestroError as error:
                why = why or error.what
        return why

    def _discard(self) -> None:
        """Remove what lies in the stages, except an old folder whose place no new one has taken.

        What cannot be removed is recorded as a leftover.
        """
        records = self._folder / leftovers.FOLDER
        for pair in self._journal.pairs:
            if pair.inside:
                if self._journal.state != "staging":
                    self._record_fate(pair)
                self.left += entrywise.sweep(pair, records)
            elif pair.holds_old:
                why = "it is what was there before, and what was to take its place is gone"
                self.left.append(leftovers.note(records, Leftover(pair.stage, pair.target, why, keeps=True)).path)
            elif found := leftovers.remove(records, pair.stage, pair.target):
                self.left.append(found.path)
        self._journal = Journal("staging", [])
        self._path.unlink(missing_ok=True)
        sync_folder(str(self._folder))

    def _record_fate(self, pair: Pair) -> None:
        """Write to the disk what became of a pair that was exchanged entry by entry, as its inodes do not tell."""
        mark = self._folder / Path(pair.stage).name
        with mark.open("w") as file:
            file.write(pair.fate)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(str(self._folder))

    def _write(self, state: str) -> None:
        self._journal.state = state
        self._save()

    def _save(self) -> None:
        replace(self._path, msgspec.json.encode(self._journal))


def _pair(target: str | Path) -> Pair:
    above = os.path.realpath(Path(target).parent)
    place = f"{above}/{Path(target).name}"
    name = f"{STAGE_PREFIX}{secrets.token_hex(6)}"
    if entrywise.is_bound(place):
        return Pair(f"{place}/{name}", place, inside=True, times=(os.lstat(place).st_mtime_ns, 0))
    return Pair(f"{above}/{name}", place)


def _sync_file_system(path: str) -> None:
    """Bring everything that was written into stages there to the disk before they are swapped in."""
    if not hasattr(_libc, "syncfs"):
        os.sync()
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _libc.syncfs(handle)
    finally:
        os.close(handle)
