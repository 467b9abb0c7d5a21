"""The housekeeping of a daemon: removes expired state keys, old run folders, snapshots, blobs; scrubs snapshots."""

from __future__ import annotations

import time

import trio

from maestro.model.errors import MaestroError
from maestro.model.events import NewEvent, StateDeleted
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.restores.journal import left_of
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.snapshots import deletion, retention, scrub
from maestro.runtime.snapshots.run_folders import clean_runs, tidying_call
from maestro.runtime.supervision.workspace_lock import remove_idle
from maestro.workspaces.exchanges import leftovers
from replayers.blobs import named
from replayers.sealed import sealed_of

SWEEP_EVERY_S = 60.0
DAY_S = 86_400.0
BLOB_AGE_MS = 24 * 3600 * 1000
SWEPT_MAX = 1000


async def tidy(context: Context, follower: Follower, scheduler: Scheduler) -> None:
    """Remove what has expired, every minute, for ever.

    Every daemon cleans its own folders, the leader cleans what all nodes share.
    """
    cleaned_at = -DAY_S
    while True:
        try:
            if scheduler.leading:
                await _sweep_state(context)
            await deletion.settle(context)
            if trio.current_time() - cleaned_at >= DAY_S:
                cleaned_at = trio.current_time()
                await _clean(context, follower, scheduler.leading)
            await scrub.go_on(context, SWEEP_EVERY_S)
        except (MaestroError, OSError) as error:
            seldom.warn("housekeeping", str(error))
        await trio.sleep(SWEEP_EVERY_S)


async def _sweep_state(context: Context) -> None:
    """Delete expired state keys, which readers hide from the moment on that they expire."""
    now = await context.now()
    rows = await context.rows(context.views.state_expired, now, SWEPT_MAX)
    floor = await context.floor()
    for row in rows:
        event = NewEvent(f"state:{row.key}", StateDeleted(row.key, "expired"), max(row.version, floor))
        await context.append([event], f"tidy:{context.node}", f"expired:{row.version}")


async def _clean(context: Context, follower: Follower, leading: bool) -> None:
    removed = await clean_runs(tidying_call(context), frozenset(follower.plan.tasks))
    if removed:
        log.info("removed %d run folders older than %d days", len(removed), context.settings.snapshot_retention_days)
    before = time.time() - context.settings.snapshot_retention_days * DAY_S
    idle = await trio.to_thread.run_sync(remove_idle, str(context.settings.home / "locks"), before)
    if idle:
        log.info("removed the lock files of %d workspaces in which nothing has run for long", idle)
    gone = await trio.to_thread.run_sync(leftovers.retry_removals, left_of(context.settings.home))
    if gone:
        log.info("removed at last what restores have left: %s", ", ".join(gone))
    await retention.expire(context, await context.now())
    if leading:
        keep = await trio.to_thread.run_sync(named, context.store, sealed_of(context.store) is not None)
        count = await context.call(context.store.blobs.collect, keep, BLOB_AGE_MS)
        if count:
            log.info("removed %d blobs that no event names", count)
