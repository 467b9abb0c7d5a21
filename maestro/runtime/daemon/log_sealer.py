"""The log sealer of a daemon: every node shows that it reaches the segments, the leader seals what is due."""

from __future__ import annotations

import trio

from maestro.model.coordination.releases import awaited, release_of
from maestro.model.errors import MaestroError
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.store.contract import Committed
from replayers import sealer
from replayers.past.forgetting import forget
from replayers.sealed import Segments, sealed_of

LOOK_EVERY_S = 5.0
FORGETS_SINCE = (1, 3)


async def keep_sealed(context: Context, follower: Follower, scheduler: Scheduler) -> None:
    """Seal what is due, for ever. What keeps history from being sealed is logged; no event is lost by it."""
    sealed, entered = sealed_of(context.store), 0
    while sealed is not None:
        try:
            node = follower.plan.nodes.get(context.node)
            if node is not None:
                await trio.to_thread.run_sync(sealer.note_reach, sealed, node.id, node.incarnation)
            if scheduler.leading:
                await _seal(context, sealed, scheduler)
            first = await context.call(context.store.log.first)
            if first > entered:
                await trio.to_thread.run_sync(sealed.index.catch_up, context.store.log, first - 1)
                if scheduler.leading:
                    await _forget(context)
                entered = first
        except (MaestroError, OSError) as error:
            seldom.warn("sealing", str(error))
        await trio.sleep(LOOK_EVERY_S)


async def _forget(context: Context) -> None:
    """Forget the versions that no view needs, once every node that is awaited knows of it (since 1.3.0)."""
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    older = [node for node in awaited(nodes, await context.now()) if release_of(node.build) < FORGETS_SINCE]
    if older:
        names = ", ".join(shown(node.id) for node in older)
        seldom.warn("forgetting", f"no version is forgotten while {names} runs an older build")
        return
    gone = await trio.to_thread.run_sync(forget, context.store)
    log.info("%d versions of what has ended are forgotten", gone)


async def _seal(context: Context, sealed: Segments, scheduler: Scheduler) -> None:
    """Seal and trim what the store holds too much of, range by range, while this daemon leads."""
    store = context.store
    spans = await trio.to_thread.run_sync(sealer.due, store, context.settings.log_events_max)
    if not spans:
        return
    nodes = await context.rows(context.views.nodes)
    missing = await trio.to_thread.run_sync(sealer.out_of_reach, sealed, nodes, await context.now())
    if missing:
        names = ", ".join(shown(name) for name in missing)
        seldom.warn("sealing", f"the log is not trimmed: {names} must reach MAESTRO_SEGMENTS_DIR ({sealed.folder})")
        return
    for span in spans:
        fact = await trio.to_thread.run_sync(sealer.seal, store, sealed, span)
        if not await trio.to_thread.run_sync(sealer.recorded, store, fact):
            version = await context.call(store.log.version, sealer.SUBJECT)
            event, cause = NewEvent(sealer.SUBJECT, fact, version), f"seal:{fact.first}-{fact.last}"
            result = await context.append([event], f"tidy:{context.node}", cause, fence=scheduler.fence)
            if not isinstance(result, Committed):
                return  # another node leads now, or has sealed it
        await context.call(store.log.trim, fact.last + 1)
        log.info("events %d to %d are sealed and trimmed", fact.first, fact.last)
