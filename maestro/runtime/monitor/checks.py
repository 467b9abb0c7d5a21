"""The checks of an agent that only its node can make: what lies on its disks, and the process of its run.

`monitor/examination.py` makes them; `model/health.py` says what they mean.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.health import WORKSPACE, Check, workspace_check
from maestro.runtime.monitor.definition_change import change
from maestro.runtime.provision.known_workspaces import KnownWorkspaces, look
from maestro.workspaces.addresses import Mounts

DISK_BYTES_MIN = 64 * 1024 * 1024
PROCESS = "process"


def local_checks(agent: Agent, settings: Settings, mounts: Mounts, process_status: str | None) -> list[Check]:
    """The checks of an agent that only its node can make. Blocks.

    process_status: psutil's of the run's first process, "" where no run is on, None where nobody has looked.
    """
    found = [_looked(name, check, agent) for name, check in _CHECKS.items()]
    try:
        found.insert(1, _workspace(agent, settings.home, mounts))
    except OSError as error:
        found.insert(1, Check(WORKSPACE, False, str(error)))
    changed = change(agent, settings.agents_dirs)
    found.append(Check("definition", True, changed or "it is what the file says", notable=bool(changed)))
    if process_status is None and agent.running:
        return found
    bad = agent.running and process_status in ("stopped", "zombie", "dead")
    return [
        *found,
        Check(PROCESS, not bad, f"run {agent.run} is {process_status}" if agent.running else "no run is on"),
    ]


def _looked(name: str, check: Callable[[Agent], tuple[bool, str]], agent: Agent) -> Check:
    """The result of one check; a failure of the file system is one that does not hold."""
    try:
        return Check(name, *check(agent))
    except OSError as error:  # a folder above may not be entered, or its disk is gone
        return Check(name, False, str(error))


def _binary(agent: Agent) -> tuple[bool, str]:
    path = AgentDefinition(agent.definition).executable
    ok = bool(path) and os.access(path, os.X_OK) and Path(path).is_file()
    return ok, f"{path} can be run" if ok else f"{path or 'the binary'} is not an executable file"


def _workspace(agent: Agent, home: Path, mounts: Mounts) -> Check:
    if agent.workspace is not None:
        return workspace_check(agent, look(agent.workspace, mounts), KnownWorkspaces(home).get(agent.workspace))
    path = _nearest(agent)
    ok = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    return Check(WORKSPACE, ok, f"{path} can be used" if ok else f"{path} is not a folder that can be written")


def _disk(agent: Agent) -> tuple[bool, str]:
    path = _nearest(agent)
    free = shutil.disk_usage(path).free
    return free >= DISK_BYTES_MIN, f"{free // (1024 * 1024)} MiB free below {path}"


def _nearest(agent: Agent) -> Path:
    """The agent's workspace, or the nearest folder above it that exists."""
    path = Path(agent.workspace or agent.workspace_root)
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


_CHECKS = {"binary": _binary, "disk": _disk}
