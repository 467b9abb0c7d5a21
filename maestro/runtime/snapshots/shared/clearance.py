"""The clearance of the shared archive: each node removes what is over of its own, the leader what forgotten nodes left.

Only what the log of this namespace knows to be over goes, as in a node's own archive (`retention`).
"""

from __future__ import annotations

import trio

from maestro.model.errors import MaestroError
from maestro.model.snapshot import Snapshot, decide_expired, outlived, retained
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.needed_runs import needed_runs
from maestro.runtime.snapshots.shared.copying import Copies, writing
from maestro.runtime.snapshots.shared.identity import shared_place
from maestro.runtime.snapshots.shared.patience import Patience, waited
from maestro.runtime.snapshots.shared.place import SharedPlace
from maestro.workspaces.archive.library import Archive

DAY_MS = 86_400_000


async def clear_own(context: Context) -> None:
    """Remove this node's copies of snapshots that are over. Raises Refused where the shared archive is out of reach."""
    place = await shared_place(context)
    if place is None:
        return
    archive = await trio.to_thread.run_sync(SnapshotFolders(context.settings.home).archive)
    await _clear(context, place, context.node, archive)


async def clear_forgotten(context: Context) -> None:
    """Let the snapshots of forgotten nodes expire, and remove their copies; for the leader. Raises as `clear_own`."""
    place = await shared_place(context)
    if place is None:
        return
    for node in await context.rows(context.views.nodes):
        if node.forgotten and node.id != context.node:
            await _expire(context, node.id)
            await _clear(context, place, node.id, None)


async def _expire(context: Context, node: str) -> None:
    rows: list[Snapshot] = await context.rows(context.views.snapshots)
    age = context.settings.snapshot_retention_days * DAY_MS
    old = outlived(rows, await context.now(), age, (), await needed_runs(context))
    floor = await context.floor()
    for row in old:
        if row.node == node:
            await context.append(decide_expired(row, floor), f"tidy:{context.node}", f"retention:{row.version}")


async def _clear(context: Context, place: SharedPlace, node: str, archive: Archive | None) -> None:
    home = context.settings.home

    def work(patience: Patience) -> int:
        copies = Copies(place, node, home, patience)
        with writing(home, place, patience):
            there = sorted(copies.listed())
            rows = {row.id: row for row in context.views.snapshots_named(there).rows}
            return copies.keep(set(retained(there, rows)), archive)

    try:
        gone = await waited(work, place.url)
    except MaestroError as error:
        log.warning("the shared archive is not cleared now: %s", error.line())
        return
    if gone:
        log.info("%d packs of node %s removed from the shared archive", gone, node)
