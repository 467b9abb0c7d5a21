"""The memory of assigned workspaces on this node, so that one that has vanished is not mistaken for a new one.

A small file each in MAESTRO_HOME/workspaces, written when an assignment is carried out here. Blocking I/O.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.agent import Agent
from maestro.model.health import RememberedWorkspace, SeenWorkspace
from maestro.workspaces.addresses import Mounts, read_file

_IS_LINK = "is now a link to elsewhere, or lies behind one"
_decoder = msgspec.json.Decoder(RememberedWorkspace)


class KnownWorkspaces:
    """The workspaces that this node has made or seen, in MAESTRO_HOME. Blocking I/O."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "workspaces"

    def get(self, workspace: str) -> RememberedWorkspace | None:
        """What this node remembers of a workspace, None where it remembers nothing that can be read."""
        file = self._file(workspace)
        try:
            found = os.stat(file)  # noqa: PTH116 - asked for each agent
            return _remembered(file, (found.st_ino, found.st_ctime_ns, found.st_size))
        except (OSError, msgspec.DecodeError):
            return None

    def remember(self, agent: Agent, seen: SeenWorkspace) -> None:
        """Remember that the workspace of this assignment is there, unless that is remembered already."""
        known = RememberedWorkspace(agent.workspace or "", agent.assigned_at, seen.shown)
        if not seen.there or seen.problem or self.get(known.workspace) == known:
            return
        private_folder(self._folder, "MAESTRO_HOME")
        file = Path(self._file(known.workspace))
        replace(file, msgspec.json.encode(known), durable=False, shared=True)
        _remembered.cache_clear()

    def _file(self, workspace: str) -> str:
        return f"{self._folder}/{_name(workspace)}.json"


@functools.lru_cache(maxsize=4096)
def _name(workspace: str) -> str:
    return hashlib.sha256(workspace.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@functools.lru_cache(maxsize=4096)
def _remembered(file: str, _stamp: tuple[int, int, int]) -> RememberedWorkspace:
    """What a file says; it is read again only where it has changed."""
    return _decoder.decode(read_file(file))


def look(workspace: str, mounts: Mounts, real: Callable[[str], str] = os.path.realpath) -> SeenWorkspace:
    """What this node sees of a workspace now. Blocks for as long as its file system does.

    real: the path without links of the folder that it lies in; of many workspaces at once, one that remembers.
    """
    above = os.path.dirname(workspace)  # noqa: PTH120 - pathlib takes ten times as long, and all agents are looked at
    if os.path.normpath(workspace) != workspace or real(above) != above:
        return SeenWorkspace(os.path.lexists(workspace), _IS_LINK)
    try:
        found = os.lstat(workspace)
    except FileNotFoundError:
        return SeenWorkspace(there=False)
    except OSError as error:
        return SeenWorkspace(there=False, problem=f"cannot be reached: {error.strerror}")
    if stat.S_ISLNK(found.st_mode):
        return SeenWorkspace(there=True, problem=_IS_LINK)
    if not stat.S_ISDIR(found.st_mode):
        return SeenWorkspace(there=True, problem="is not a folder")
    if not os.access(workspace, os.R_OK | os.W_OK | os.X_OK):
        return SeenWorkspace(there=True, problem="cannot be written")
    return SeenWorkspace(there=True, shown=mounts.shown(workspace, (found.st_dev, found.st_ino)))
