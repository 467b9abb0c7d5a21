"""The end of a restore in the log: `restore.done`, once the workspaces are what it says, or `restore.failed`.

By whoever began it, or by whoever finds its journal after a crash. Doing it again changes nothing.
"""

from __future__ import annotations

import trio

from maestro.model.agent import decide_restart
from maestro.model.events import AgentStopped, NewEvent, RestoreDone, RestoreFailed, RestorePlaced
from maestro.model.restore import decide_lives, decide_restore_end
from maestro.runtime.contention import Race
from maestro.runtime.context import APPEND_S_MAX, Context
from maestro.runtime.restoring.journal import Begun
from maestro.runtime.restoring.past import Past, look_back
from maestro.store.contract import Append, Committed
from projections.lineage import find_cuts

LEASE = "restore"
"""Held by the node that restores, so that no other one does."""


async def conclude(context: Context, begun: Begun, past: Past | None = None) -> None:
    """The workspaces are put back: say so, and cut the line where that was asked for. Raises Conflict, StoreAway."""
    if begun.to is None:
        await _tell_placed(context, begun)
        await restart(context, begun)
        return
    if past is None:
        past = await trio.to_thread.run_sync(look_back, context.store, begun.to)
    race = Race("tasks keep changing while they are restored")
    while True:
        if await context.call(_is_done, context, begun.restore):
            return
        events = await _end(context, begun, past)
        append = Append(tuple(events), begun.actor, begun.cause, floors=True)
        if isinstance(await context.gateway.append(append, APPEND_S_MAX), Committed):
            return
        await race.lost()


async def _end(context: Context, begun: Begun, past: Past) -> list[NewEvent]:
    assert begun.to is not None
    open_now = await context.rows(context.views.open_tasks)
    more = decide_lives(past.keys, past.at)
    for fact in begun.assigned:
        more.append(NewEvent(f"agent:{fact.agent}", fact))
        if past.agents[fact.agent].stopped:
            more.append(NewEvent(f"agent:{fact.agent}", AgentStopped(fact.agent, past.agents[fact.agent].reason)))
    done = RestoreDone(begun.restore, begun.to, begun.source, begun.before)
    return decide_restore_end(done, open_now, past.tasks, await context.floor(), begun.resume, more)


def _is_done(context: Context, restore: str) -> bool:
    log = context.store.log
    for cut in reversed(find_cuts(log, log.head().floor)):
        event = log.event(cut.at)
        if event is not None and event.subject == f"restore:{restore}":
            return True
    return False


async def _tell_placed(context: Context, begun: Begun) -> None:
    subject = f"restore:{begun.restore}"
    version = await context.call(context.store.log.version, subject)
    event = await context.call(context.store.log.event, version) if version else None
    if event is None or event.subject != subject:
        workspaces = tuple(target.workspace for target in begun.targets)
        fact = RestorePlaced(begun.restore, begun.source, workspaces, begun.before)
        await context.append([NewEvent(subject, fact)], begun.actor, begun.cause)


async def abandon(context: Context, begun: Begun, reason: str) -> None:
    """Nothing was changed: say so, and let the agents go on."""
    if begun.to is not None:
        failed = NewEvent(f"restore:{begun.restore}", RestoreFailed(begun.restore, reason))
        await context.append([failed], begun.actor, begun.cause)
    await restart(context, begun)


async def restart(context: Context, begun: Begun) -> None:
    """The agents that were stopped for it take work again, unless somebody stopped them anew."""
    for name in begun.stopped:
        race = Race(f"agent {name} keeps changing")
        while True:
            row = await context.row(context.views.agent, name)
            if row is None or not row.stopped or row.reason != stop_reason(begun.restore):
                break
            events = decide_restart(name, row, await context.floor())
            if isinstance(await context.append(events, begun.actor, begun.cause), Committed):
                break
            await race.lost()


def stop_reason(restore: str) -> str:
    """Why an agent is stopped meanwhile."""
    return f"restore {restore}"
