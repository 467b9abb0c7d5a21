"""Makes a workspace from a template: whole or not at all, and without links that leave the template.

The copy is made beside its place and renamed into it, so that a crash leaves no half-filled workspace. Only an absent
or empty workspace is filled: what an agent or a user has put there stays.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from maestro.model.errors import Refused
from maestro.workspaces.cleaning import clean, remove_tree
from maestro.workspaces.mounts import is_mount

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def fill(workspace: str | Path, template: str = "") -> bool:
    """Make the workspace, from the template if there is one. True where it was absent or empty.

    Raises `Refused` where it is a file, the template cannot be copied, or the disk refuses.
    """
    target = Path(workspace)
    if _is_filled(workspace):
        return False
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise Refused(f"{str(target)!r} is no folder", where="workspace", mend="name another folder")
        exists = target.is_dir()
        if exists and any(target.iterdir()):
            return False
        if exists and not template:
            return True
        target.parent.mkdir(parents=True, exist_ok=True)
        if not template:
            target.mkdir(mode=0o700, exist_ok=True)
        else:
            _fill_from(Path(template), target, exists)
    except OSError as error:
        what = f"{error.filename or str(target)!r}: {error.strerror}"
        raise Refused(what, where="workspace", mend="make room or mend the permissions, then try again") from None
    return True


def _is_filled(workspace: str | Path) -> bool:
    """Whether the path is a folder, no link, that is not empty: the usual case, told by two system calls."""
    try:
        if not stat.S_ISDIR(os.lstat(workspace).st_mode):
            return False
        with os.scandir(workspace) as entries:
            return next(entries, None) is not None
    except OSError:
        return False  # `fill` reports what is wrong with the folder


def _fill_from(template: Path, target: Path, exists: bool) -> None:
    """Copy a template to a stage beside `target` and rename the stage to it."""
    if not template.is_dir():
        raise _refused(template, "is no folder")
    source, place = os.path.realpath(template), os.path.realpath(target)
    if f"{place}/".startswith(f"{source}/"):
        raise _refused(template, f"would be copied into itself ({place})")
    stage = target.parent / f".{target.name[:64]}.{secrets.token_hex(6)}"
    if exists and (is_mount(target) or not os.access(target.parent, os.W_OK)):
        _fill_in_place(source, place)
        return
    try:
        stage.mkdir(mode=0o700)
        _copy(source, str(stage))
        if exists:
            stage.chmod(stat.S_IMODE(target.stat().st_mode))
        stage.rename(target)
    finally:
        if os.path.lexists(stage):
            remove_tree(stage)


def _fill_in_place(source: str, target: str) -> None:
    """Copy the template into the folder itself, where a stage cannot be made beside it; empty it if the copy fails.

    This is for mount points, and for a parent folder that cannot be written.
    """
    try:
        _copy(source, target)
    except BaseException:
        clean(target)
        raise


def _copy(source: str, target: str) -> None:
    """Copy folders, files and inner links, with modes and times, without owners and set-id bits, without recursion."""
    waiting = [""]
    folders: list[str] = []
    while waiting:
        relative = waiting.pop()
        with os.scandir(os.path.join(source, relative)) as entries:  # noqa: PTH118 - "" is the folder itself
            for entry in entries:
                inner = f"{relative}/{entry.name}" if relative else entry.name
                if entry.is_symlink():
                    _copy_link(source, target, inner)
                elif entry.is_dir():
                    Path(target, inner).mkdir(mode=0o700)
                    waiting.append(inner)
                    folders.append(inner)
                else:
                    _copy_file(source, target, inner)
    for inner in reversed(folders):
        _keep_stat(Path(source, inner).stat(), Path(target, inner))


def _copy_link(source: str, target: str, inner: str) -> None:
    to = str(Path(source, inner).readlink())
    real = os.path.realpath(Path(source, inner))
    if to.startswith("/") or not f"{real}/".startswith(f"{source}/"):
        raise _refused(Path(source, inner), f"is a link that leaves the template ({to!r})")
    Path(target, inner).symlink_to(to)


def _copy_file(source: str, target: str, inner: str) -> None:
    descriptor = os.open(Path(source, inner), _READ)
    with os.fdopen(descriptor, "rb") as original:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(Path(source, inner), "is neither a file, a folder nor a link")
        with Path(target, inner).open("xb") as copy:
            shutil.copyfileobj(original, copy, 1024 * 1024)
    _keep_stat(found, Path(target, inner))


def _keep_stat(found: os.stat_result, path: Path) -> None:
    path.chmod(stat.S_IMODE(found.st_mode) & 0o777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _refused(path: Path, why: str) -> Refused:
    return Refused(f"{str(path)!r} {why}", where="workspace_template", mend="mend the template")
