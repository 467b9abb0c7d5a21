"""Bystanders of a restore: processes whose working folder is in a workspace that another folder replaces.

They stay in the old folder, which is emptied. Only processes that /proc shows are found: none of other users, and none
on systems without /proc.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maestro.workspaces.exchanges.exchange import STAGE_PREFIX
from maestro.workspaces.ground import levels

_PROC = Path("/proc")
_DELETED = " (deleted)"


class Bystander(NamedTuple):
    """A process whose working folder is in a workspace. command: the name of its program."""

    pid: int
    command: str
    workspace: str


def look(workspaces: Sequence[str]) -> list[Bystander]:
    """The processes whose working folder is in one of these workspaces now. Blocks."""
    found: list[Bystander] = []
    try:
        pids = [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]
    except OSError:
        return found
    places = set(workspaces)
    for pid in pids:
        try:
            cwd = str((_PROC / str(pid) / "cwd").readlink())
            command = (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
        except OSError:
            continue
        found += [Bystander(pid, command, level) for level in levels(cwd) if level in places]
    return found


def moved_from(standing: Sequence[Bystander]) -> list[Bystander]:
    """Those of the processes whose working folder was replaced, so that they stand in the old one. Blocks."""
    found = []
    for each in standing:
        try:
            now = str((_PROC / str(each.pid) / "cwd").readlink())
        except OSError:
            continue
        if now.endswith(_DELETED) or STAGE_PREFIX in now:
            found.append(each)
    return found
