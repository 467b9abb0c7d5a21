"""Putting stages in the place of workspaces: each wholly old or wholly new, whenever the process ends.

A journal says first which stages there are (so that they can be swept), then that they take their places (so that it
is done to the end). What has been done is known by the inodes, not by the journal's memory: doing it again is
harmless. Where the system cannot exchange two folders, the old one is moved aside first, and the journal mends that.
One that cannot be exchanged as a whole is replaced entry by entry, and done to the end (`entrywise`).
A journal that cannot be carried out forward is carried out backward; where neither can be (a folder is gone, another
one has come in its place), it is carried out forward as far as it goes, and what is lost is named. It always ends.
One exchange at a time for a journal: the lock is a flock, which ends with the process.
"""

from __future__ import annotations

import ctypes
import os
import secrets
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
from maestro.workspaces.exchanges.places import carried_off, check_apart, identify

_JOURNAL_BYTES_MAX = 1 << 28
STAGE_PREFIX = ".maestro-stage-"
_libc = ctypes.CDLL(None, use_errno=True)


class Lost(NamedTuple):
    """A workspace that is not what it was to be, while others are, or that is not what it was either."""

    target: str
    why: str


class Journal(msgspec.Struct):
    """state: `staging` (the stages go), `exchanging` (they take their places), `undoing` (they give them back)."""

    state: str
    pairs: list[Pair]


class Exchange:
    """One exchange, as a context: make stages, fill them, `commit`. Left without, everything is as it was.

    Opening it first completes, undoes or sweeps what a process that is gone has left. completed: the targets of that
    which are new now; lost: those that are neither; left: old folders that cannot be removed. Raises `Refused` where
    another one is under way, `VerificationFailed` for a journal that cannot be read.
    """

    def __init__(self, journal: str | Path) -> None:
        self._folder = private_folder(Path(journal), "restore journal", tighten=True)
        self._path = self._folder / "journal"
        self._journal = Journal("staging", [])
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
        """Where to make the stage for `target`: beside it, or in it; recorded, and not there yet."""
        above = os.path.realpath(Path(target).parent)
        place = f"{above}/{Path(target).name}"
        name = f"{STAGE_PREFIX}{secrets.token_hex(6)}"
        if entrywise.is_bound(place):
            times = (os.lstat(place).st_mtime_ns, 0)
            self._add(Pair(f"{place}/{name}", place, inside=True, times=times))
        else:
            self._add(Pair(f"{above}/{name}", place))
        return self._journal.pairs[-1].stage

    def mark(self, stage: str) -> str:
        """The file that says afterwards what became of an exchange entry by entry; "" for another one."""
        inside = {pair.stage for pair in self._journal.pairs if pair.inside}
        return str(self._folder / Path(stage).name) if stage in inside else ""

    def forget(self, stage: str | Path) -> None:
        """Leave a stage out: its target stays as it is. What is left of the stage is removed."""
        remove_tree(stage)
        self._journal.pairs = [pair for pair in self._journal.pairs if pair.stage != str(stage)]
        self._write("staging")

    def commit(self) -> None:
        """The stages take the places of their targets, and what was there is removed.

        After this returns, or once the next `Exchange` of this journal was made after a crash, all are new. Raises
        `Refused` where one cannot take its place: then all are old, but for what `lost` names.
        """
        pairs = self._journal.pairs
        for pair in pairs:
            identify(pair)
        check_apart(pairs)
        for pair in pairs:
            _sync_file_system(pair.stage)
        self._write("exchanging")
        why = self._carry_out("exchanging")
        self._discard()
        if len(self.completed) < len(pairs):
            changed = "; nothing was changed" if not self.completed and not self.lost else ""
            raise Refused(why, "restore", f"mend that, then try again{changed}")

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

    def _recover(self) -> None:
        """End what was begun."""
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
        """Do it as the state says; where that cannot be, the other way; where neither can, as far as it goes.

        Why it was not done as the state said, "" where it was.
        """
        other = "undoing" if state == "exchanging" else "exchanging"
        why = self._place()
        if state == "exchanging" and not why:
            why = carried_off(self._journal.pairs)
        for turned in (other, state) if why else ():
            self._write(turned)
            if not self._place():
                break
        fates = {pair.target: pair.fate for pair in self._journal.pairs}
        self.completed = [target for target, fate in fates.items() if fate == "new"]
        self.lost = [Lost(target, why_lost(target, fates[target])) for target in broken_off(fates).left]
        return why

    def _place(self) -> str:
        """Put every pair as the state says, whatever has been done of it; why the first that cannot be put cannot."""
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
        """Remove what lies in the stages, but for an old folder whose place no new one has taken.

        What cannot be removed is left and put on record; it is not what was asked for.
        """
        records = self._folder / leftovers.FOLDER
        for pair in self._journal.pairs:
            if pair.inside:
                if self._journal.state != "staging":
                    self._tell(pair)
                self.left += entrywise.sweep(pair, records)
            elif pair.holds_old:
                why = "it is what was there before, and what was to take its place is gone"
                self.left.append(leftovers.note(records, Leftover(pair.stage, pair.target, why, keeps=True)).path)
            elif found := leftovers.remove(records, pair.stage, pair.target):
                self.left.append(found.path)
        self._journal = Journal("staging", [])
        self._path.unlink(missing_ok=True)
        sync_folder(str(self._folder))

    def _tell(self, pair: Pair) -> None:
        """Have it on the disk what became of a pair whose folders do not say it."""
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
