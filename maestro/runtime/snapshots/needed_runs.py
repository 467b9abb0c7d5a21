"""Which runs of workflows still need their folders and archives, and the folders that nobody needs any more.

Only the log tells: a run may wait for an approval longer than anything is kept. What it does not know (a run of another
namespace, or of a log that was flushed since) is left alone.
"""

from __future__ import annotations

import trio

from maestro.runtime.node.context import Context
from maestro.workspaces import cleaning
from maestro.workspaces.cleaning import ExpiredRun

PAGE = 500
DAY_MS = 86_400_000


async def needed_runs(context: Context) -> set[str]:
    """The runs of workflows whose folders and archives are needed: open ones, and those that they have resumed."""
    found = {header.id: header for header in await context.rows(context.views.workflow_runs, "open")}
    earlier = [header.resumed_from for header in found.values()]
    while earlier:
        name = earlier.pop()
        if not name or name in found:
            continue
        resumed = await context.row(context.views.workflow_run, name)
        if resumed is not None:
            found[name] = resumed
            earlier.append(resumed.resumed_from)
    return set(found)


async def expired_of_workflows(context: Context) -> list[ExpiredRun]:
    """The folders of workflows' runs on this node that were used last more than MAESTRO_SNAPSHOT_RETENTION days ago."""
    settings = context.settings
    folders = await trio.to_thread.run_sync(cleaning.workflow_runs, settings.workspace_root)
    if not folders:
        return []
    now, needed, resumed = await context.now(), await needed_runs(context), await _resumed(context)
    found = []
    for folder in folders:
        header = await context.row(context.views.workflow_run, folder.rpartition("/")[2])
        if header is None or header.node != context.node or header.folder != folder:
            continue
        top = await context.row(context.views.workflow_run, header.root or header.id)
        if top is None or top.open or header.open or {top.id, header.id} & needed:
            continue
        last = max(header.ended_at, top.ended_at, resumed.get(top.id, 0), resumed.get(header.id, 0))
        age = (now - last) / DAY_MS
        if age > settings.snapshot_retention_days:
            found.append(await trio.to_thread.run_sync(cleaning.workflow_run, folder, age))
    return found


async def _resumed(context: Context) -> dict[str, int]:
    """When those that have resumed a run, whose folder they share, have ended last; by the run that was resumed."""
    found: dict[str, int] = {}
    before: int | None = None
    while True:
        page = await context.rows(context.views.workflow_runs, "all", PAGE, before=before)
        for header in page:  # newest first: what has resumed a run came before it
            if header.resumed_from:
                last = max(header.ended_at, found.get(header.id, 0), found.get(header.resumed_from, 0))
                found[header.resumed_from] = last
        if len(page) < PAGE:
            return found
        before = page[-1].position
