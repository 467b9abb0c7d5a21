"""Checks whether stages can be swapped in for their targets, and says why not."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from maestro.model.errors import Refused
from maestro.workspaces.exchanges import entrywise
from maestro.workspaces.exchanges.pairs import Pair, boot_id, identity
from maestro.workspaces.mounts import check_no_mounts, is_mount


def check_place(target: str | Path) -> None:
    """Check that a stage can be made for `target` and swapped in, as far as can be told now. Raises `Refused`."""
    try:
        _check_place(Path(target))
    except OSError as error:
        raise Refused(f"{str(target)!r} cannot be reached: {error.strerror}", where="restore") from None


def _check_place(target: Path) -> None:
    if entrywise.is_bound(target):
        entrywise.check_enterable(target)
        check_no_mounts(target, "moved")
        return
    above = next(folder for folder in target.parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise Refused(f"{str(above)!r} cannot be written", where="restore", mend="change its mode or owner")
    if not os.path.lexists(target):
        return
    if not stat.S_ISDIR(target.lstat().st_mode):
        raise Refused(f"{str(target)!r} is no folder", where="restore", mend="remove it, or name another workspace")
    check_no_mounts(target, "moved")


def identify(pair: Pair) -> None:
    """Record the identities of a pair's folders. Raises `Refused` where the stage cannot be swapped in."""
    pair.new, pair.old, pair.boot = identity(pair.stage), identity(pair.target), boot_id()
    if pair.new is None:
        raise Refused(f"the stage {pair.stage!r} is not there", where="restore")
    above = Path(pair.target).parent
    if pair.inside:
        entrywise.check_enterable(pair.target)
        check_no_mounts(pair.target, "moved")
        return
    if Path(pair.stage).parent != above:
        raise Refused(f"the stage {pair.stage!r} does not lie beside {pair.target!r}", where="restore")
    if pair.old is not None and not stat.S_ISDIR(os.lstat(pair.target).st_mode):
        raise Refused(f"{pair.target!r} is no folder", where="restore", mend="remove it, or name another workspace")
    if pair.old is not None and (pair.old[0] != pair.new[0] or is_mount(pair.target)):
        what = f"{pair.target!r} is a mount point, so no folder can take its place"
        raise Refused(what, where="restore", mend="use a folder below it as the workspace")
    if not os.access(above, os.W_OK | os.X_OK):
        raise Refused(f"{str(above)!r} cannot be written", where="restore", mend="change its mode or owner")
    check_no_mounts(pair.target, "moved")


def moved_mounts(pairs: Sequence[Pair]) -> str:
    """What was mounted in an old folder after the last check, and so was moved with it, in words; "" for nothing."""
    try:
        for pair in pairs:
            check_no_mounts(pair.aside if pair.inside else pair.stage, "moved")
    except Refused as refused:
        return refused.what
    return ""


def check_apart(pairs: Sequence[Pair]) -> None:
    """Check that no two pairs have the same target, nor one inside another. Raises `Refused`."""
    taken: dict[object, str] = {}
    for pair in pairs:
        for place in (pair.target, *([pair.old] if pair.old else [])):
            if place in taken:
                raise Refused(f"two folders would take the place {pair.target!r}", where="restore")
            taken[place] = pair.target
    for pair in pairs:
        if inside := next((str(above) for above in Path(pair.target).parents if str(above) in taken), None):
            raise Refused(f"{pair.target!r} lies in {inside!r}, which is replaced too", where="restore")
