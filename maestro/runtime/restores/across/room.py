"""The room that a restore needs on each disk of this node, compared with what is free there before it begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from maestro.model.restore import Archived
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin
from maestro.runtime.restores.plan import Placement, RestorePlan
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots.amounts import size


class Disk(NamedTuple):
    """A disk on which workspaces are put back. path: a folder on it; workspaces: those on it."""

    path: str
    workspaces: tuple[str, ...]
    needed: int
    free: int

    @property
    def why_not(self) -> str:
        """Why the workspaces cannot be put back on it, "" where there is room."""
        if self.needed <= self.free:
            return ""
        return f"the disk of {self.path} needs {size(self.needed)} for it, and has {size(self.free)} free"

    def row(self, node: str) -> Row:
        """The disk as the dry run tells it."""
        told = {"disk_needed_bytes": self.needed, "disk_free_bytes": self.free}
        return {"node": node, "path": self.path, "workspaces": list(self.workspaces), **told}


def disks_of(needed: Mapping[str, int]) -> list[Disk]:
    """The disks of workspaces of this node, each with the bytes that are needed for them all. Blocks."""
    found: dict[int, Disk] = {}
    for workspace, count in needed.items():
        above = next(folder for folder in Path(workspace).parents if folder.exists())
        device, room = above.stat().st_dev, os.statvfs(above)
        had = found.get(device) or Disk(str(above), (), 0, room.f_bavail * room.f_frsize)
        found[device] = had._replace(workspaces=(*had.workspaces, workspace), needed=had.needed + count)
    return list(found.values())


def mark(placements: Sequence[Placement], disks: Sequence[Disk]) -> None:
    """Note in each placement for which its disk has no room why it cannot be put back."""
    short = {workspace: disk.why_not for disk in disks for workspace in disk.workspaces if disk.why_not}
    for each in placements:
        each.why_not = each.why_not or short.get(each.workspace, "")


async def check_room(planned: RestorePlan, origins: OpenOrigins, whole: bool) -> None:
    """Note in each placement of this node for which there is no room why not. whole: what has not changed is written
    again, as agents are at work while it is; else only what differs takes room, which is looked at where all does not
    fit. Raises as `OpenOrigins.snapshot`.
    """
    here = [(each, archived) for each, archived in planned.restorable if each.node in ("", planned.here)]
    found = [(each, archived, await origins.snapshot(archived.snapshot, archived.node)) for each, archived in here]
    disks = await trio.to_thread.run_sync(_compared, found, whole)
    mark([each for each, _ in here], disks)


def _compared(found: Sequence[tuple[Placement, Archived, Origin]], whole: bool) -> list[Disk]:
    disks = disks_of({each.workspace: origin.room(archived.held.tree) for each, archived, origin in found})
    if whole or not any(disk.why_not for disk in disks):
        return disks
    return disks_of({each.workspace: _changed(origin, archived.held.tree, each) for each, archived, origin in found})


def _changed(origin: Origin, tree: str, placement: Placement) -> int:
    """The bytes of the files that are not in the workspace yet."""
    if not origin.reuses:
        return origin.room(tree)
    diff = origin.diff(tree, placement.workspace)
    return min(origin.room(tree), sum(change.bytes for change in (*diff.added, *diff.changed)))
