"""The copies that a daemon keeps in the shared archive: what is not there yet follows, what has expired goes, and all
of it is read again at times.

All of it happens beside everything else: a store of objects that is slow or away delays nothing here.
"""

from __future__ import annotations

from collections.abc import Collection

import trio

from maestro.model.errors import MaestroError
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.snapshots import retention
from maestro.runtime.snapshots.shared import copy_scrub
from maestro.runtime.snapshots.shared.clearance import clear_forgotten, clear_own
from maestro.runtime.snapshots.shared.upload import catch_up

LOOK_EVERY_S = 20.0
CLEAR_EVERY_S = 3600.0
SCRUB_EVERY_S = 6 * 3600.0
SCRUB_AFTER_S = 300.0
"""After its start a daemon has other things to do."""


async def keep_copied(context: Context, scheduler: Scheduler, uncopied: Collection[str]) -> None:
    """Keep the copies of this node for ever; those of forgotten nodes where this daemon leads.

    uncopied: snapshots that were whole, but not copied, when an earlier daemon ended: they are complete when they are.
    """
    if context.settings.archive_url is None:
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_whole, context, scheduler)
        await _keep_there(context, scheduler, uncopied)


async def _keep_there(context: Context, scheduler: Scheduler, uncopied: Collection[str]) -> None:
    cleared_at = trio.current_time()
    left = list(uncopied)
    while True:
        try:
            await catch_up(context, left)
            if left:
                await retention.sweep(context, left)
                left = []
            if trio.current_time() - cleared_at >= CLEAR_EVERY_S:
                cleared_at = trio.current_time()
                await clear_own(context)
                if scheduler.leading:
                    await clear_forgotten(context)
        except (MaestroError, OSError) as error:
            seldom.warn("shared archive", error.line() if isinstance(error, MaestroError) else str(error))
        await trio.sleep(LOOK_EVERY_S)


async def _keep_whole(context: Context, scheduler: Scheduler) -> None:
    """Scrub the copies of this node, and where this daemon leads those of nodes that are away; tell what is damaged."""
    due_at = trio.current_time() + SCRUB_AFTER_S
    while True:
        try:
            nodes = [context.node]
            if scheduler.leading:
                nodes += [node.id for node in await context.rows(context.views.nodes) if node.status != "up"]
            if trio.current_time() >= due_at:
                due_at = trio.current_time() + SCRUB_EVERY_S
                for node in nodes:
                    await copy_scrub.scrub(context, node)
            context.damaged_copies = await copy_scrub.damage(context, nodes)
        except (MaestroError, OSError) as error:
            seldom.warn("shared archive", error.line() if isinstance(error, MaestroError) else str(error))
        await trio.sleep(LOOK_EVERY_S)
