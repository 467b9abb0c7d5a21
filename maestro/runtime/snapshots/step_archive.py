"""The archive of a workspace before a step of a workflow: an automatic snapshot, kept while the run is open."""

from __future__ import annotations

import trio

from maestro.model.events import Event, WorkspaceArchived, WorkspaceArchiveWanted
from maestro.runtime.node.context import Context
from maestro.runtime.snapshots.procedure import take
from maestro.runtime.snapshots.request import SnapshotRequest, TakenSnapshot
from maestro.runtime.snapshots.step_wishes import call_of, source_of, vacant
from maestro.workspaces.archive.write.snapshot_writer import Torn

TRIES_MAX = 3
"""How often a workspace is read in which somebody else writes, before that is the answer."""
PAUSE_S = 0.5


async def archive(context: Context, event: Event) -> WorkspaceArchived:
    """Archive the workspace of a wish, once no run is on there. Raises as `procedure.take`."""
    wish = event.fact
    assert isinstance(wish, WorkspaceArchiveWanted)
    async with vacant(context, event):
        source = await source_of(context, wish)
        request = SnapshotRequest(
            wish.why or f"before step {wish.instance} of run {wish.run}",
            agents=(wish.agent,) if wish.agent else (),
            folders=() if wish.agent else (source,),
            run=wish.run,
        )
        taken = await _taken(context, event, request)
    return WorkspaceArchived(wish.run, wish.instance, taken.row.id, size=taken.row.bytes)


async def _taken(context: Context, event: Event, request: SnapshotRequest) -> TakenSnapshot:
    for _ in range(TRIES_MAX - 1):
        try:
            return await take(call_of(context, event), request)
        except Torn:
            await trio.sleep(PAUSE_S)
    return await take(call_of(context, event), request)
