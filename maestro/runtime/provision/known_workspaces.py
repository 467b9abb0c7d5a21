"""The memory of assigned workspaces on this node, so that one that has vanished is not mistaken for a new one.

A small file each in MAESTRO_HOME/workspaces, written when an assignment is carried out here. Blocking I/O.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.agent import Agent
from maestro.model.health import RememberedWorkspace, SeenWorkspace
from maestro.workspaces.addresses import Mounts


class KnownWorkspaces:
    """The workspaces that this node has made or seen, in MAESTRO_HOME. Blocking I/O."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "workspaces"

    def get(self, workspace: str) -> RememberedWorkspace | None:
        """What this node remembers of a workspace, None where it remembers nothing that can be read."""
        try:
            return msgspec.json.decode(self._file(workspace).read_bytes(), type=RememberedWorkspace)
        except (OSError, msgspec.DecodeError):
            return None

    def remember(self, agent: Agent, seen: SeenWorkspace) -> None:
        """Remember that the workspace of this assignment is there, unless that is remembered already."""
        known = RememberedWorkspace(agent.workspace or "", agent.assigned_at, seen.shown)
        if not seen.there or seen.problem or self.get(known.workspace) == known:
            return
        private_folder(self._folder, "MAESTRO_HOME")
        file = self._file(known.workspace)
        replace(file, msgspec.json.encode(known), durable=False, shared=True)

    def _file(self, workspace: str) -> Path:
        name = hashlib.sha256(workspace.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._folder / f"{name}.json"


def look(workspace: str, mounts: Mounts) -> SeenWorkspace:
    """What this node sees of a workspace now. Blocks for as long as its file system does."""
    if os.path.realpath(workspace) != workspace:
        return SeenWorkspace(os.path.lexists(workspace), "is now a link to elsewhere, or lies behind one")
    path = Path(workspace)
    try:
        path.lstat()
    except FileNotFoundError:
        return SeenWorkspace(there=False)
    except OSError as error:
        return SeenWorkspace(there=False, problem=f"cannot be reached: {error.strerror}")
    if not path.is_dir():
        return SeenWorkspace(there=True, problem="is not a folder")
    if not os.access(workspace, os.R_OK | os.W_OK | os.X_OK):
        return SeenWorkspace(there=True, problem="cannot be written")
    return SeenWorkspace(there=True, shown=mounts.shown(workspace))
