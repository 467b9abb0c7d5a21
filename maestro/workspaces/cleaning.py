"""Removes what agents left: expired run folders, and the content of a workspace (see `removal`).

A folder with a mount point anywhere inside is not touched, and the mount points are named.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import msgspec

from maestro.model.errors import Refused
from maestro.workspaces import workflow_folders
from maestro.workspaces.folders import MARK, is_folder
from maestro.workspaces.mounts import check_no_mounts, is_mount, mount_refusal, open_above
from maestro.workspaces.removal import empty, open_folder, remove

DISK_BYTES_PER_AGENT = 10 * 1000**3
_DAY_S = 86_400


class ExpiredRun(msgspec.Struct, frozen=True):
    """A run folder that has not changed for too long. filled: its own workspace is not empty."""

    agent: str
    task: str
    path: str
    age_days: float
    filled: bool

    @property
    def owner(self) -> str:
        """Whose the workspace in it is, as snapshots name it: the agent, or the run of a workflow itself."""
        return self.task if self.agent == workflow_folders.NAME else self.agent

    @property
    def tree(self) -> str:
        """The name of the workspace in it, as snapshots name it."""
        above = workflow_folders.TREES if self.agent == workflow_folders.NAME else f"runs/{self.agent}"
        return f"{above}/{self.task}"


def workflow_run(folder: str, age_days: float) -> ExpiredRun:
    """The folder of a workflow's run that is not needed any more, which only the log can tell."""
    path = Path(folder)
    return ExpiredRun(workflow_folders.NAME, path.name, folder, age_days, _is_filled(path / "workspace"))


def workflow_runs(root: str | Path) -> list[str]:
    """The folders of workflows' runs below `root`, by name."""
    runs = Path(root, workflow_folders.NAME)
    return sorted(str(folder) for folder in _folders(runs)) if os.path.lexists(runs / MARK) else []


def expired_runs(root: str | Path, days: float, now: float | None = None) -> list[ExpiredRun]:
    """The run folders below `root` that have not changed for `days` days, oldest first.

    now: Unix time in seconds. Only folders that carry the mark of run folders are considered; everything else below the
        root is a user's. Runs of workflows are not among them: an open one may wait for longer.
    """
    now = time.time() if now is None else now
    found = []
    for agent in _folders(Path(root)):
        if agent.name == workflow_folders.NAME or not os.path.lexists(agent / MARK):
            continue
        for task in _folders(agent):
            age = (now - _last_change(task)) / _DAY_S
            if age > days:
                found.append(ExpiredRun(agent.name, task.name, str(task), age, _is_filled(task / "workspace")))
    return sorted(found, key=lambda run: (-run.age_days, run.path))


def remove_run(root: str | Path, agent: str, task: str) -> None:
    """Remove one run folder. Raises `Refused` where something in it cannot be removed."""
    folder = Path(root, agent)
    if not os.path.lexists(folder / MARK):
        raise Refused(f"{str(folder)!r} is no folder of runs", mend="remove it yourself if it is not needed")
    remove_tree(folder / task)


def clean_expired(root: str | Path, days: float, busy: frozenset[str] = frozenset()) -> list[str]:
    """Remove the expired run folders, except those of the tasks in `busy`; the paths that were removed.

    A folder whose workspace is not empty is kept, as it must be archived first. A folder that cannot be removed is kept
    too.
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
    """Empty a workspace, but keep the folder itself, which may be a mount point.

    Raises `Refused` for a link, for mount points inside (then nothing was touched), and for what cannot be removed.
    """
    check_no_mounts(workspace, "emptied")
    try:
        descriptor = open_folder(workspace, None)
        try:
            empty(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refusal(error, Path(workspace), Path(workspace)) from None


def remove_tree(path: str | Path) -> None:
    """Remove a folder with its content, or a link without its target; an absent path is no error.

    Raises `Refused` where the folder is or contains a mount point (then nothing was touched), or cannot be removed.
    """
    path = Path(path)
    try:
        if path.is_symlink():
            path.unlink()
            return
        check_no_mounts(path, "removed")
        above = open_above(path)
        try:
            remove(path.name, above)
        finally:
            os.close(above)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(error, path, path.parent) from None


def disk_warning(root: str | Path, agents: int) -> str | None:
    """A warning where the disk below `root` has less than 10 GB free for each concurrent agent, else None."""
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


def _folders(above: Path) -> list[Path]:
    try:
        return [entry for entry in above.iterdir() if is_folder(entry)]
    except OSError:
        return []  # the folder vanished, or is another user's


def _last_change(task: Path) -> float:
    """When a run last began or ended in a run folder: the newest mtime of it and its attempts."""
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
        return True  # a workspace that cannot be listed is kept


def _refusal(error: OSError, path: Path, base: Path) -> Refused:
    """The error for a folder that cannot be removed. base: the folder that the error's file name is relative to."""
    place = base / error.filename if isinstance(error.filename, str) else path
    if error.errno == errno.EXDEV or (error.errno == errno.EBUSY and is_mount(place)):
        return mount_refusal([str(place)], "removed")  # the folder itself, or what was mounted after the check
    name = f" ({str(place)!r})" if place != path else ""
    mend = "stop what uses it and mend its permissions, then try again"
    return Refused(f"{str(path)!r} cannot be cleared: {error.strerror}{name}", where="workspace", mend=mend)
