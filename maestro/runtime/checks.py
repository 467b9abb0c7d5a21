"""What makes an agent healthy: the checks of SPEC.md 7, on the node that owns it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from maestro.model.agent import Agent

HEARTBEAT_S_MAX = 60.0
DISK_BYTES_MIN = 64 * 1024 * 1024


class Check(msgspec.Struct, frozen=True):
    """One check and its result. detail: what was seen, for people."""

    name: str
    ok: bool
    detail: str


def local_checks(agent: Agent, process_status: str) -> list[Check]:
    """What can be seen on this node. process_status: psutil's of the run's first process, "" where none runs."""
    found = [_looked(name, look, agent) for name, look in _LOOKS.items()]
    if agent.running and process_status:
        bad = process_status in ("stopped", "zombie", "dead")
        found.append(Check("process", not bad, f"run {agent.run} is {process_status}"))
    return found


def heartbeat_check(age_s: float | None) -> Check:
    """Whether the agent's node has spoken of it lately. age_s: None without any heartbeat."""
    if age_s is None:
        return Check("heartbeat", False, f"none in the last {HEARTBEAT_S_MAX:.0f} s: is the daemon of its node up?")
    return Check("heartbeat", age_s < HEARTBEAT_S_MAX, f"{age_s:.1f} s ago")


def _looked(name: str, look: Callable[[Agent], tuple[bool, str]], agent: Agent) -> Check:
    try:
        return Check(name, *look(agent))
    except OSError as error:  # a folder on the way may not be entered, or its disk has gone
        return Check(name, False, str(error))


def _binary(agent: Agent) -> tuple[bool, str]:
    path = str(agent.definition.get("executable", ""))
    ok = bool(path) and os.access(path, os.X_OK) and Path(path).is_file()
    return ok, f"{path} can be run" if ok else f"{path or 'the binary'} is not an executable file"


def _workspace(agent: Agent) -> tuple[bool, str]:
    path = Path(agent.workspace or agent.workspace_root)
    while agent.workspace is None and not path.exists() and path != path.parent:
        path = path.parent
    ok = path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK)
    return ok, f"{path} can be used" if ok else f"{path} is not a folder that can be written"


def _disk(agent: Agent) -> tuple[bool, str]:
    path = Path(agent.workspace or agent.workspace_root)
    while not path.exists() and path != path.parent:
        path = path.parent
    free = shutil.disk_usage(path).free
    return free >= DISK_BYTES_MIN, f"{free // (1024 * 1024)} MiB free below {path}"


_LOOKS = {"binary": _binary, "workspace": _workspace, "disk": _disk}
