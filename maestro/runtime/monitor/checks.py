"""What only an agent's node can see of it: its program, and what lies on the node's disks.

`examination.py` has it looked at; `model/monitoring/health_rules.py` says what it means.
"""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path

from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.monitoring.sights import RememberedWorkspace, SeenDisk, SeenWorkspace, Sight
from maestro.runtime.monitor.definition_change import change, stamps_of
from maestro.runtime.provision.known_workspaces import KnownWorkspaces, look
from maestro.workspaces.addresses import Mounts

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Round:
    """One round of looks at agents: what many of them have in common is looked at once. All of it blocks."""

    def __init__(self, settings: Settings, mounts: Mounts) -> None:
        self.dirs = settings.agents_dirs
        self.known = KnownWorkspaces(settings.home)
        self.mounts = mounts
        self.program = functools.cache(_program)
        self.place = functools.cache(_place)
        self.disk_of_runs = functools.cache(disk_of)
        self.stamps = functools.cache(stamps_of)
        self.real = functools.cache(os.path.realpath)


def local_sight(agent: Agent, shared: Round) -> Sight:
    """What this node sees of an agent. Blocks, for as long as a file system does."""
    seen: SeenWorkspace | None = None
    known: RememberedWorkspace | None = None
    workspace = agent.workspace
    if workspace is not None:
        seen, known = _workspace(workspace, shared), shared.known.get(workspace)
    return Sight(
        program=shared.program(AgentDefinition(agent.definition).executable),
        workspace=seen,
        remembered=known,
        place=shared.place(agent.workspace_root) if workspace is None else None,
        disk=shared.disk_of_runs(agent.workspace_root) if workspace is None else disk_of(workspace),
        definition=change(agent, shared.dirs, shared.stamps),
    )


def _program(path: str) -> str:
    try:
        is_there = bool(path) and os.access(path, os.X_OK) and Path(path).is_file()
    except OSError as error:  # a folder above may not be entered, or its disk is gone
        return str(error)
    return "" if is_there else f"{path or 'the binary'} is not an executable file"


def _workspace(path: str, shared: Round) -> SeenWorkspace:
    try:
        return look(path, shared.mounts, shared.real)
    except OSError as error:
        return SeenWorkspace(there=False, problem=f"cannot be used: {error}")


def _place(root: str) -> str:
    try:
        path = _nearest(root)
        is_usable = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        return str(error)
    return "" if is_usable else f"{path} is not a folder that can be written"


def disk_of(folder: str | Path) -> SeenDisk:
    """The disk below a folder, or below the nearest one above it that exists. Blocks."""
    path = str(folder)
    while True:
        try:
            found = os.statvfs(path)
            break
        except OSError as error:
            above = os.path.dirname(path)  # noqa: PTH120 - asked for each agent
            if error.errno not in _NOT_THERE or above == path:
                return SeenDisk(str(folder), problem=str(error))
            path = above
    free_files = found.f_favail if found.f_files else None  # some file systems make room for files as they need it
    return SeenDisk(path, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, free_files)


def _nearest(folder: str | Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    path = Path(folder)
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
