"""Removing what agents left: run folders that have expired, and the content of a workspace.

Agents make trees that are deep, read-only or full of links. Removal works through descriptors, follows no link, stops
at a mount point, and does not recurse: a nested folder is first moved to the top.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from maestro.model.errors import Refused
from maestro.workspaces.folders import FOLDER_FLAGS, MARK

DISK_BYTES_PER_AGENT = 10 * 1000**3
_PASSES_MAX = 1_000_000
_DAY_S = 86_400


class ExpiredRun(msgspec.Struct, frozen=True):
    """A run folder that nobody has touched for too long. filled: it has a workspace with something in it."""

    agent: str
    task: str
    path: str
    age_days: float
    filled: bool


def expired_runs(root: str | Path, days: float, now: float | None = None) -> list[ExpiredRun]:
    """The run folders below `root` that are older than `days`, oldest first. now: Unix time in seconds.

    Only folders that are marked as folders of runs are looked at; everything else below the root is a user's.
    """
    now = time.time() if now is None else now
    found = []
    for agent in _folders(Path(root)):
        if not os.path.lexists(agent / MARK):
            continue
        for task in _folders(agent):
            age = (now - _last_change(task)) / _DAY_S
            if age > days:
                found.append(ExpiredRun(agent.name, task.name, str(task), age, _is_filled(task / "workspace")))
    return sorted(found, key=lambda run: (-run.age_days, run.path))


def remove_run(root: str | Path, agent: str, task: str) -> None:
    """Remove one run folder. Raises `Refused` where something of it cannot be removed."""
    folder = Path(root, agent)
    if not os.path.lexists(folder / MARK):
        raise Refused(f"{str(folder)!r} is no folder of runs", mend="remove it yourself if it is not needed")
    remove_tree(folder / task)


def clean_expired(root: str | Path, days: float, busy: frozenset[str] = frozenset()) -> list[str]:
    """Remove the expired run folders but those of the tasks in `busy`; their paths.

    A folder whose workspace has something in it is kept: that is archived first, or is not removed at all. So is one
    that cannot be removed.
    """
    removed = []
    for run in expired_runs(root, days):
        if run.filled or run.task in busy:
            continue
        try:
            remove_run(root, run.agent, run.task)
        except Refused:
            continue
        removed.append(run.path)
    return removed


def clean(workspace: str | Path) -> None:
    """Empty a workspace and keep the folder itself. Raises `Refused` for a link, or what cannot be removed."""
    try:
        with _folder(os.fspath(workspace), None) as descriptor:
            _empty(descriptor)
    except OSError as error:
        raise _refusal(error, workspace) from None


def remove_tree(path: str | Path) -> None:
    """Remove a folder with all in it, or a link without what it names; an absent one is fine. Raises `Refused`."""
    path = Path(path)
    try:
        if path.is_symlink():
            path.unlink()
            return
        with _folder(str(path), None) as descriptor:
            _empty(descriptor)
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(error, path) from None


def disk_warning(root: str | Path, agents: int) -> str | None:
    """A line for stderr where the disk below `root` has less than 10 GB free per concurrent agent, else None."""
    folder = Path(root)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    needed = agents * DISK_BYTES_PER_AGENT
    if free >= needed:
        return None
    has, wants = free / 1000**3, needed / 1000**3
    return f"{root}: {has:.1f} GB free, less than 10 GB for each of {agents} concurrent agents ({wants:.0f} GB)"


def _empty(folder: int) -> None:
    """Remove everything in a folder: files at once, folders after their inner ones were moved up here."""
    token, moved = secrets.token_hex(6), 0
    device = os.fstat(folder).st_dev
    for _ in range(_PASSES_MAX):
        entries = _entries(folder)
        if not entries:
            return
        for name, is_folder in entries:
            if not is_folder:
                os.unlink(name, dir_fd=folder)
                continue
            with _folder(name, folder) as inner:
                if os.fstat(inner).st_dev != device:
                    raise Refused(f"{name!r} in it is a mount point", where="workspace", mend="unmount it")
                for deeper, deeper_is_folder in _entries(inner):
                    if deeper_is_folder:
                        _allow(deeper, inner)  # a folder that is moved must be writable itself
                        os.rename(deeper, f".{token}-{moved}", src_dir_fd=inner, dst_dir_fd=folder)
                        moved += 1
                    else:
                        os.unlink(deeper, dir_fd=inner)
            os.rmdir(name, dir_fd=folder)
    raise Refused("something keeps writing into it", where="workspace", mend="stop what uses it, then try again")


def _entries(folder: int) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextmanager
def _folder(name: str, above: int | None) -> Iterator[int]:
    _allow(name, above)
    descriptor = os.open(name, FOLDER_FLAGS, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _allow(name: str, above: int | None) -> None:
    """Let the owner into a folder that was left read-only, without following a link that took its place."""
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o700 == 0o700:
        return
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, 0o700, dir_fd=above, follow_symlinks=False)
        return
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(0o700)
    finally:
        os.close(handle)


def _folders(above: Path) -> list[Path]:
    try:
        return [entry for entry in above.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []  # gone meanwhile, or not ours


def _last_change(task: Path) -> float:
    """When something of a run folder last began or ended: the newest time of it and its attempts."""
    attempts = task / "attempts"
    places = [task, attempts, *_folders(attempts), *(folder / "agent.log" for folder in _folders(attempts))]
    times = []
    for place in places:
        try:
            times.append(place.lstat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _is_filled(workspace: Path) -> bool:
    try:
        return any(workspace.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # what cannot be looked into is not thrown away


def _refusal(error: OSError, path: str | Path) -> Refused:
    name = f" ({error.filename!r})" if error.filename and str(error.filename) != str(path) else ""
    mend = "stop what uses it and mend its permissions, then try again"
    return Refused(f"{str(path)!r} cannot be cleared: {error.strerror}{name}", where="workspace", mend=mend)
