"""Replaces a workspace entry by entry, from a stage inside it, where the folder cannot be exchanged as a whole.

That is so for a mount point, and where the parent folder cannot be written. The old entries move into a folder inside
the workspace first, then those of the stage move in. The journal of the exchange records the phase, so that the
exchange is completed, or undone, whenever the process ends. Entries that were created meanwhile are never overwritten:
they are renamed.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maestro.model.errors import Refused
from maestro.workspaces.exchanges import leftovers
from maestro.workspaces.exchanges.leftovers import Leftover
from maestro.workspaces.exchanges.pairs import ENTERING, LEAVING, NEW, OLD, Pair
from maestro.workspaces.mounts import is_mount
from maestro.workspaces.moves import FOLDER_FLAGS, copy_metadata, move, move_entries


def is_bound(target: str | Path) -> bool:
    """Whether an existing folder cannot be moved as a whole: it is a mount point, or its parent cannot be written."""
    place = Path(target)
    try:
        found, above = place.lstat(), place.parent.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if is_mount(place) or not os.access(place.parent, os.W_OK | os.X_OK):
        return True
    return bool(above.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, above.st_uid, found.st_uid)


def check_enterable(target: str | Path) -> None:
    """Check that entries can be moved into and out of a folder. Raises `Refused`."""
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"{str(target)!r} cannot be written", where="restore", mend="change its mode or owner")


def put_entries(pair: Pair, forward: bool, save: Callable[[], None]) -> None:
    """Bring the stage's entries into the target, or the old entries back. Idempotent.

    forward: True for the stage's entries.
    save: writes the pair's phase to the journal.

    Raises `OSError` for the first entry that cannot be moved.
    """
    top = os.open(pair.target, FOLDER_FLAGS)
    try:
        if forward:
            _prepare(pair, top, save)
            _move_old_out(pair, top, save)
            _move_new_in(pair, top, save)
        else:
            _move_new_back(pair, top, save)
            _move_old_back(pair, top, save)
    finally:
        os.close(top)


def sweep(pair: Pair, records: Path) -> list[str]:
    """Remove the stage, and the old entries where they were replaced; the paths of what is left, which is recorded."""
    if pair.phase in (OLD, NEW):
        with suppress(OSError), _writable(pair.target):
            for place in (pair.stage, pair.aside):
                leftovers.remove(records, place, pair.target)
            at = pair.times[pair.phase == NEW]
            os.utime(pair.target, ns=(at, at), follow_symlinks=False)
    left = [place for place in (pair.stage, pair.aside) if os.path.lexists(place)]
    if pair.phase not in (OLD, NEW):
        for place in left:
            why = "a restore could neither be done nor be taken back: part of the workspace is in it"
            leftovers.note(records, Leftover(place, pair.target, why, keeps=True))
    return left


def _prepare(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Record which entries are to move in, and make the folder for the old ones."""
    if pair.phase != OLD:
        return
    stage = _opened(pair.stage, top)
    try:
        pair.times = (pair.times[0], os.fstat(stage).st_mtime_ns)
        pair.names = [os.fsencode(name) for name in _names(stage)]
    finally:
        os.close(stage)
    with suppress(FileExistsError):
        os.mkdir(Path(pair.aside).name, 0o700, dir_fd=top)
    pair.phase = LEAVING
    save()


def _move_old_out(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Move the old entries into the folder aside."""
    if pair.phase != LEAVING:
        return
    aside = _opened(pair.aside, top)
    try:
        move_entries(top, aside, {Path(pair.stage).name, Path(pair.aside).name})
        copy_metadata(top, aside)
    finally:
        os.close(aside)
    pair.phase = ENTERING
    save()


def _move_new_in(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Move the stage's entries into the workspace."""
    if pair.phase != ENTERING:
        return
    stage = _opened(pair.stage, top)
    try:
        for name in _names(stage):
            _move(name, stage, top)
        copy_metadata(stage, top)
        os.fsync(stage)
        os.fsync(top)
    finally:
        os.close(stage)
    pair.phase = NEW
    save()


def _move_new_back(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Move the new entries back into the stage."""
    if pair.phase not in (ENTERING, NEW):
        return
    with suppress(FileExistsError):
        os.mkdir(Path(pair.stage).name, 0o700, dir_fd=top)
    stage, aside = _opened(pair.stage, top), _opened(pair.aside, top)
    try:
        entered = set(pair.names).intersection(map(os.fsencode, _names(top)))
        for name in entered.difference(map(os.fsencode, _names(stage))):
            move(os.fsdecode(name), top, stage)
        copy_metadata(aside, top)
        os.fsync(stage)
        os.fsync(top)
    finally:
        os.close(stage)
        os.close(aside)
    pair.phase = LEAVING
    save()


def _move_old_back(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Move the old entries back into the workspace."""
    if pair.phase != LEAVING:
        return
    aside = _opened(pair.aside, top)
    try:
        for name in _names(aside):
            _move(name, aside, top)
        os.fsync(aside)
        os.fsync(top)
    finally:
        os.close(aside)
    pair.phase = OLD
    save()


@contextmanager
def _writable(folder: str) -> Iterator[None]:
    """Let the owner remove entries from a folder for a while, whatever mode it has."""
    mode = stat.S_IMODE(os.lstat(folder).st_mode)
    if mode & 0o300 == 0o300 or os.geteuid() == 0:
        yield
        return
    os.chmod(folder, mode | 0o700)  # noqa: PTH101 - a workspace, by its real path
    try:
        yield
    finally:
        os.chmod(folder, mode)  # noqa: PTH101


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _opened(path: str, top: int) -> int:
    return os.open(Path(path).name, FOLDER_FLAGS, dir_fd=top)


def _move(name: str, source: int, target: int) -> None:
    """Move an entry; an entry that was created in its place meanwhile is renamed to `<name>.came-…`."""
    try:
        move(name, source, target)
    except FileExistsError:
        os.rename(name, f"{name[:200]}.came-{secrets.token_hex(3)}", src_dir_fd=target, dst_dir_fd=target)
        move(name, source, target)
