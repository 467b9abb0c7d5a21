"""Deletes trees after archiving them: each tree is moved aside first, so that what is archived is what is deleted.

A record on the disk has two states. KEEPING says where the trees lie meanwhile; DELETING says, once they are archived
and the archive was verified, which snapshot holds them. When a process ends in between, `end_begun` puts the trees back
in the first state, and in the second deletes what the snapshot lists. Files that the snapshot does not list, or that
cannot be deleted, go back to their place.

A folder that cannot be moved as a whole stays, and its entries are moved into a folder inside it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from maestro.durable import lock_file, replace, sync_folder
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.workspaces.archive.read.purge import Leftover, Listing, remove_listed
from maestro.workspaces.moves import FOLDER_FLAGS, UNMOVABLE, copy_metadata, move_entries
from maestro.workspaces.open_records import DELETIONS, LOCK, deletions

ASIDE_PREFIX = ".maestro-aside-"
KEEPING, DELETING = "keeping", "deleting"

Listed = Callable[[str, str], Listing]
"""A function of a snapshot's id and a tree's name that returns the tree's listing, or raises `MaestroError`."""


class Doomed(msgspec.Struct):
    """A folder to be deleted with its content, or (`stays`) emptied.

    place: its path.
    tree: its name in the archive.
    aside: where it lies after `move_aside`; with `inside`, a folder inside it that holds its entries.
    """

    place: str
    tree: str
    stays: bool = True
    aside: str = ""
    inside: bool = False


class Record(msgspec.Struct):
    """The record of one deletion.

    state: KEEPING: the trees go back; DELETING: what `snapshot` holds of them is deleted.
    """

    trees: list[Doomed]
    state: str = KEEPING
    snapshot: str = ""


class Deletion:
    """One deletion, as a context: `move_aside`, archive, `delete`. Leaving it before `delete` puts everything back.

    Raises `Refused` where another deletion is under way.
    """

    def __init__(self, home: Path, listed: Listed) -> None:
        self._folder = private_folder(home / DELETIONS, "deletions", tighten=True)
        self._listed = listed
        self._path = self._folder / secrets.token_hex(8)
        self._record = Record([])
        self._lock = _locked(self._folder)
        if self._lock < 0:
            raise Refused("another workspace is being cleared", mend="try again when that has ended")

    def move_aside(self, trees: Sequence[Doomed]) -> list[str]:
        """Move the trees aside; where each lies now. Raises `Refused` where one cannot be moved: then all are back."""
        for doomed in trees:
            self._record.trees.append(doomed)
            self._move(doomed)
        return [doomed.aside for doomed in trees]

    def delete(self, snapshot: str, listings: Mapping[str, Listing]) -> dict[str, list[Leftover]]:
        """Delete what `snapshot` holds of each tree; the archived trees must have been verified.

        listings: by the tree's name in the archive.

        Returns by place what is left of each tree, if anything; it is at its place again. Raises `Refused`.
        """
        deleting = Record(self._record.trees, DELETING, snapshot)
        try:
            replace(self._path, msgspec.json.encode(deleting))
        except OSError as error:
            what = f"it cannot be written: {error.strerror}"
            raise Refused(what, str(self._path), "make room there; nothing was deleted") from None
        self._record = deleting
        left = {}
        for doomed in self._record.trees:
            if found := _finish(doomed, listings[doomed.tree]):
                left[doomed.place] = found
        _drop(self._path)
        self._record.trees = []
        return left

    def close(self) -> None:
        """Put back what was not deleted, and release the lock. Raises `Refused` where a tree cannot be put back."""
        try:
            if self._record.trees:
                _end(self._path, self._record, self._listed)
        finally:
            if self._lock >= 0:
                os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Deletion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _move(self, doomed: Doomed) -> None:
        """Record where a tree will lie, then move it there.

        That is beside its place, or, where it cannot be moved as a whole, a folder inside it for its entries.
        """
        above = Path(doomed.place).parent
        name = f"{ASIDE_PREFIX}{secrets.token_hex(6)}"
        try:
            doomed.aside, doomed.inside = f"{above}/{name}", False
            replace(self._path, msgspec.json.encode(self._record))
            try:
                os.rename(doomed.place, doomed.aside)  # noqa: PTH104 - no link in its last part is followed
                sync_folder(str(above))
            except OSError as error:
                if error.errno not in UNMOVABLE:
                    raise
                doomed.aside, doomed.inside = f"{doomed.place}/{name}", True
                replace(self._path, msgspec.json.encode(self._record))
                _move_in(doomed)
        except OSError as error:
            what = f"{doomed.place!r} cannot be moved aside: {error.strerror} ({error.filename!r})"
            raise Refused(what, "workspace", "mend that, then try again; nothing was deleted") from None


def end_begun(home: Path, listed: Listed) -> list[str]:
    """End the deletions of processes that have died; why some could not be ended, a line each.

    Does nothing while a deletion is under way.
    """
    folder = home / DELETIONS
    if not folder.is_dir():
        return []
    lock = _locked(folder)
    if lock < 0:
        return []
    failed = []
    try:
        for path in deletions(folder):
            try:
                _end(path, _read(path), listed)
            except MaestroError as error:
                failed.append(error.line())
    finally:
        os.close(lock)
    return failed


def begun(home: Path) -> list[Doomed]:
    """The trees of deletions that are under way, or could not be ended. Raises `VerificationFailed`."""
    return [doomed for path in deletions(home / DELETIONS) for doomed in _read(path).trees]


def check_whole(home: Path, place: str) -> None:
    """Check that no content of the folder at `place` lies aside. Raises `Refused`, as nothing may work there then."""
    for doomed in begun(home):
        if doomed.place == place and os.path.lexists(doomed.aside):
            what = f"what was in {place!r} lies in {doomed.aside!r}, and is put back as soon as that can be"
            raise Refused(what, "workspace", "move away what lies in its place: it is put back within a minute")


# ---- one tree ----


def _move_in(doomed: Doomed) -> None:
    """Move the entries of a folder into a folder inside it, which gets its metadata. Raises `OSError`."""
    name = Path(doomed.aside).name
    top = os.open(doomed.place, FOLDER_FLAGS)
    try:
        before = os.fstat(top)
        os.mkdir(name, 0o700, dir_fd=top)
        aside = os.open(name, FOLDER_FLAGS, dir_fd=top)
        try:
            move_entries(top, aside, {name})
            copy_metadata(top, aside)
            os.utime(aside, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(aside)
        finally:
            os.close(aside)
    finally:
        os.close(top)


def _put_back(doomed: Doomed) -> None:
    """Move a tree back to its place, if it lies aside. Raises `Refused`."""
    if not os.path.lexists(doomed.aside):
        return
    try:
        if doomed.inside:
            _move_out(doomed)
            return
        os.rename(doomed.aside, doomed.place)  # noqa: PTH104 - replaces nothing but an empty folder
        sync_folder(str(Path(doomed.place).parent))
    except OSError as error:
        what = f"what was in {doomed.place!r} lies in {doomed.aside!r}, and cannot be put back: {error.strerror}"
        raise Refused(what, "workspace", f"move away what lies at {error.filename or doomed.place!r}") from None


def _move_out(doomed: Doomed) -> None:
    """Move the entries back out of the folder inside."""
    name = Path(doomed.aside).name
    top = os.open(doomed.place, FOLDER_FLAGS)
    try:
        aside = os.open(name, FOLDER_FLAGS, dir_fd=top)
        try:
            os.fchmod(aside, 0o700)
            move_entries(aside, top)
        finally:
            os.close(aside)
        os.rmdir(name, dir_fd=top)
        os.fsync(top)
    finally:
        os.close(top)


def _finish(doomed: Doomed, listing: Listing) -> list[Leftover]:
    """Delete what is listed of a tree; what is left, which is at its place again."""
    if not os.path.lexists(doomed.aside):
        return []
    left = remove_listed(doomed.aside, listing)
    goes = not doomed.stays or (not doomed.inside and os.path.lexists(doomed.place))
    if goes and not left:
        with suppress(OSError):
            Path(doomed.aside).rmdir()
            sync_folder(str(Path(doomed.aside).parent))
    else:
        _put_back(doomed)
    return left


# ---- records ----


def _end(path: Path, record: Record, listed: Listed) -> None:
    """Put the trees back, or delete them, as the record says, and remove the record. Raises `MaestroError`."""
    failed: list[MaestroError] = []
    for doomed in record.trees:
        try:
            listing = _deletable(record, doomed, listed)
            if listing is None:
                _put_back(doomed)
            else:
                _finish(doomed, listing)
        except MaestroError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    _drop(path)


def _deletable(record: Record, doomed: Doomed, listed: Listed) -> Listing | None:
    """The listing of a tree to delete; None where the tree goes back, also because its snapshot is unreadable."""
    if record.state != DELETING:
        return None
    try:
        return listed(record.snapshot, doomed.tree)
    except MaestroError:
        return None


def _read(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record([])
    except msgspec.MsgspecError as error:
        mend = "look at the folders that it names, then remove it"
        raise VerificationFailed(f"the record of a deletion cannot be read: {error}", str(path), mend) from None


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(str(path.parent))


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a home's deletions, a flock; -1 where another process holds it."""
    handle = lock_file(folder / LOCK)
    return -1 if handle is None else handle
