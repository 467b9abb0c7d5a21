"""A workspace that cannot be exchanged as a whole: what is in it is replaced entry by entry, from a stage inside it.

For a mount point, and where the folder above is not to be written. The entries that were there leave for a folder
inside first, then those of the stage enter; the journal of the exchange knows which of it has begun, so that it is done
to the end, or taken back, whenever the process ends. Nothing of what came meanwhile is overwritten: it makes way.
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
from maestro.workspaces.moves import FOLDER_FLAGS, liken, move, move_entries


def is_bound(target: str | Path) -> bool:
    """Whether a folder that is there cannot be moved as a whole: it is a mount point, or what is above not writable."""
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
    """Entries of a folder can be moved. Raises `Refused`."""
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"{str(target)!r} cannot be written", where="restore", mend="change its mode or owner")


def put_entries(pair: Pair, forward: bool, save: Callable[[], None]) -> None:
    """Let the target hold what is in the stage, or what it held before. save: has the journal know the phase.

    Doing it again is harmless. Raises `OSError` for the first entry that cannot be moved.
    """
    top = os.open(pair.target, FOLDER_FLAGS)
    try:
        if forward:
            _begin(pair, top, save)
            _leave(pair, top, save)
            _enter(pair, top, save)
        else:
            _withdraw(pair, top, save)
            _return(pair, top, save)
    finally:
        os.close(top)


def sweep(pair: Pair, records: Path) -> list[str]:
    """Remove the stage, and what was there before where it was replaced; what is left of these is put on record."""
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


def _begin(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """Know what is to enter, and have a folder for what leaves, which is like the workspace."""
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


def _leave(pair: Pair, top: int, save: Callable[[], None]) -> None:
    if pair.phase != LEAVING:
        return
    aside = _opened(pair.aside, top)
    try:
        move_entries(top, aside, {Path(pair.stage).name, Path(pair.aside).name})
        liken(top, aside)
    finally:
        os.close(aside)
    pair.phase = ENTERING
    save()


def _enter(pair: Pair, top: int, save: Callable[[], None]) -> None:
    if pair.phase != ENTERING:
        return
    stage = _opened(pair.stage, top)
    try:
        for name in _names(stage):
            _move(name, stage, top)
        liken(stage, top)
        os.fsync(stage)
        os.fsync(top)
    finally:
        os.close(stage)
    pair.phase = NEW
    save()


def _withdraw(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """What has entered goes back into the stage."""
    if pair.phase not in (ENTERING, NEW):
        return
    with suppress(FileExistsError):
        os.mkdir(Path(pair.stage).name, 0o700, dir_fd=top)
    stage, aside = _opened(pair.stage, top), _opened(pair.aside, top)
    try:
        entered = set(pair.names).intersection(map(os.fsencode, _names(top)))
        for name in entered.difference(map(os.fsencode, _names(stage))):
            move(os.fsdecode(name), top, stage)
        liken(aside, top)
        os.fsync(stage)
        os.fsync(top)
    finally:
        os.close(stage)
        os.close(aside)
    pair.phase = LEAVING
    save()


def _return(pair: Pair, top: int, save: Callable[[], None]) -> None:
    """What has left comes back."""
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
    """Its owner may remove from it, however the workspace that it is now is to be."""
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
    """Move an entry; what has come in its place meanwhile makes way, under a name that says so."""
    try:
        move(name, source, target)
    except FileExistsError:
        os.rename(name, f"{name[:200]}.came-{secrets.token_hex(3)}", src_dir_fd=target, dst_dir_fd=target)
        move(name, source, target)
