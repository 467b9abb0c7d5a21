"""The end of a restore in the log: `restore.done` where its workspaces were swapped in, else `restore.failed`.

Appended by the process that began the restore, or by the one that finds its journal after a crash. Appending it again
changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import trio

from maestro.model.events import NewEvent, RestoreDone, RestoreFailed, RestorePlaced
from maestro.model.monitoring.failsafe import decide_returned
from maestro.model.restore import (
    OpenWork,
    Stopped,
    decide_agents,
    decide_going_on,
    decide_lives,
    decide_restore_end,
    stop_reason,
)
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import APPEND_S_MAX, Context
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.restores.forks.schedules import kept_off
from maestro.runtime.restores.journal import BegunRestore, LoadedLog, Target
from maestro.runtime.restores.log_loader import is_own
from maestro.runtime.restores.past import Past, look_back
from maestro.runtime.restores.stop_reason import why_stopped
from maestro.runtime.snapshots import guard_archive
from maestro.runtime.snapshots.step_wishes import answer
from maestro.store.contract import Append, Committed
from projections.lineage import find_cuts
from replayers.checkpoint import same_history
from replayers.log_reader import history

LEASE = "restore"
"""The lease of the node that restores, so that no other node does."""


async def end(context: Context, begun: BegunRestore, reason: str) -> bool:
    """Finish the restore in the log if its workspaces were swapped in, else record that it failed; whether it is done.

    reason: why it failed, if it did. Raises Conflict, StoreAway: then it has to be tried again later.
    """
    if begun.broken_off.is_done:
        await conclude(context, begun)
        return True
    if begun.loads is None or not await unload(context, begun.loads, begun.cause):
        await abandon(context, begun, reason)
    return False


async def conclude(context: Context, begun: BegunRestore, past: Past | None = None) -> None:
    """Record that the workspaces are put back, and cut the line of the log where the state goes back too.

    past: how things were at that position, folded from the log where it is None. Raises Conflict, StoreAway.
    """
    lost = set(begun.broken_off.left)
    left = {target.agent: _told(begun, target) for target in begun.targets if target.workspace in lost}
    if begun.to is None:
        await _tell_placed(context, begun, left)
        await restart(context, begun, left)
        await _answer(context, begun)
        return
    if past is None:
        past = await trio.to_thread.run_sync(look_back, context.store, begun.to)
    off = await trio.to_thread.run_sync(kept_off, context.store, begun.to)
    race = Race("tasks keep changing while they are restored")
    while True:
        if await context.call(_is_done, context, begun.restore):
            return
        events = [*await _end(context, begun, past, left), *off]
        append = Append(tuple(events), begun.actor, begun.cause, floors=True)
        if isinstance(await context.gateway.append(append, APPEND_S_MAX), Committed):
            return
        await race.lost()


async def _end(context: Context, begun: BegunRestore, past: Past, left: Mapping[str, str]) -> list[NewEvent]:
    assert begun.to is not None
    tasks = await context.rows(context.views.open_tasks)
    runs = await context.rows(context.views.workflow_runs, "open")
    more = [*decide_lives(past.keys, past.at), *decide_agents(begun.assigned, past.agents, left)]
    done = RestoreDone(begun.restore, begun.to, begun.source, begun.before)
    then = OpenWork(past.tasks, past.runs)
    return decide_restore_end(done, OpenWork(tasks, runs), then, await context.floor(), begun.resume, more)


def _is_done(context: Context, restore: str) -> bool:
    log = context.store.log
    for cut in reversed(find_cuts(log, log.head().floor)):
        event = log.event(cut.at)
        if event is not None and event.subject == f"restore:{restore}":
            return True
    return False


async def _tell_placed(context: Context, begun: BegunRestore, left: Mapping[str, str]) -> None:
    subject = f"restore:{begun.restore}"
    version = await context.call(context.store.log.version, subject)
    event = await context.call(context.store.log.event, version) if version else None
    if event is None or event.subject != subject:
        workspaces = tuple(target.workspace for target in begun.targets if target.agent not in left)
        fact = RestorePlaced(begun.restore, begun.source, workspaces, begun.before)
        await context.append([NewEvent(subject, fact)], begun.actor, begun.cause)


async def _answer(context: Context, begun: BegunRestore) -> None:
    """Tell whoever it was done for that the workspace is as it was: a run of a workflow, or a guarded agent."""
    event = await context.call(context.store.log.event, begun.wish) if begun.wish else None
    if event is not None and begun.returned is not None:
        await answer(context, event, begun.returned)
    if begun.guarded is not None:
        await guard_archive.tell(context, decide_returned, begun.guarded, begun.actor, begun.cause)


async def abandon(context: Context, begun: BegunRestore, reason: str) -> None:
    """Record that a restore failed, and let its agents take work again, but for those whose workspaces are lost."""
    places_lost = set(begun.broken_off.left)
    lost = [target for target in begun.targets if target.workspace in places_lost]
    if begun.to is not None:
        said = "; ".join([reason, *(f"{target.workspace}: {target.why_lost}" for target in lost)])
        failed = NewEvent(f"restore:{begun.restore}", RestoreFailed(begun.restore, said))
        await context.append([failed], begun.actor, begun.cause)
    places = {target.workspace: _told(begun, target, begun.before) for target in lost}
    now = await context.rows(context.views.agents)
    left = {row.id: places[row.workspace] for row in now if row.workspace in places}
    begun.waiting = []
    await restart(context, begun, left)


async def restart(context: Context, begun: BegunRestore, left: Mapping[str, str]) -> None:
    """Let the agents that were stopped for a restore take work again, unless somebody has stopped them since.

    left: agents whose workspaces are lost, with the reason: they stay stopped, and the log says why.
    """
    for name in dict.fromkeys([*begun.stopped, *begun.waiting, *left]):
        race = Race(f"agent {name} keeps changing")
        stopped = Stopped(begun.restore, name in begun.waiting, left.get(name, ""))
        while True:
            row = await context.row(context.views.agent, name)
            why = await why_stopped(context, row) if row is not None else ""
            events = decide_going_on(row, why, stopped, await context.floor())
            if not events or isinstance(await context.append(events, begun.actor, begun.cause), Committed):
                break
            await race.lost()


def _told(begun: BegunRestore, target: Target, snapshot: str = "") -> str:
    """Why an agent stays stopped, with the command that brings its workspace back."""
    source = snapshot or (begun.source if begun.source.startswith("/") else target.snapshot)
    place = shlex.quote(target.workspace)
    command = f"maestro state restore {shlex.quote(source)} --workspace {place}"
    return f"{stop_reason(begun.restore)}: {target.workspace}: {target.why_lost}; `{command}` brings it back"


async def unload(context: Context, loaded: LoadedLog, cause: str) -> bool:
    """Erase a log that was loaded for a restore which was not done; whether it is gone.

    The log stays where somebody else has appended to it since. cause: of the events that the restore itself appended.
    """

    def work() -> bool:
        store = context.store
        found = same_history(store, loaded.position, loaded.chain)
        if found == "same":
            for events in history(store, loaded.position, store.log.head().seq):
                if any(event.cause != cause and not is_own(event) for event in events):
                    return False
            store.erase()
            KnownHead(context.settings).forget()
        return found != "other"

    return await context.call(work)
