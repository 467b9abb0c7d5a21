"""`up`, `shutdown`, `node list`: this node's daemon, and the others of the namespace."""

from __future__ import annotations

import trio

from maestro.model.agent import Agent
from maestro.model.errors import StoreUnsafe
from maestro.model.events import NewEvent, NodeHeld, NodeResumed, TaskCancelRequested
from maestro.model.node import decide_resume
from maestro.runtime import protocol as p
from maestro.runtime.context import Call, Context
from maestro.runtime.rows import node_row
from maestro.runtime.server import Handler
from maestro.runtime.snapshots.cleanup import clean_runs
from maestro.runtime.witness import Witness

KILL_S = 5.0


async def resume(call: Call, agents: list[Agent], reason: str) -> None:
    """Let the nodes of these agents (this one where there are none) take work again after a shutdown."""
    context = call.context
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    here = nodes.get(context.node)
    events = decide_resume(nodes, agents, context.node, reason)
    if not agents and here is not None and here.held:
        events = [NewEvent(f"node:{here.id}", NodeResumed(here.id, reason))]
    if events:
        await context.append_promptly(events, call.caller.actor, call.cause)


async def up(call: Call, command: p.Up) -> p.Done:
    """The daemon is up (the client started it, or it ran already): say so, and end a hold."""
    await resume(call, [], "up")
    rows = await _rows(call.context)
    return p.Done(next(row for row in rows if row["id"] == call.context.node))


async def list_nodes(call: Call, command: p.NodeList) -> p.Done:
    """All nodes, with what runs there."""
    for row in await _rows(call.context):
        await call.item(row)
    return p.Done()


async def _rows(context: Context) -> list[dict[str, object]]:
    nodes = await context.rows(context.views.nodes)
    running: dict[str, int] = {}
    for task in await context.rows(context.views.open_tasks):
        for slot in task.slots:
            if slot.status == "running" and slot.runs[-1].node:
                where = slot.runs[-1].node
                running[where] = running.get(where, 0) + 1
    rows = []
    for node in nodes:
        holder = await context.call(context.store.work.lease_holder, f"node:{node.id}")
        rows.append(node_row(node, holder is not None, running.get(node.id, 0)))
    return rows


async def shutdown(call: Call, command: p.Shutdown) -> p.Done:
    """Hold the node, cancel what runs here, wait, kill, clean, then stop the daemon and the embedded store."""
    context = call.context
    cancelled: list[str] = []
    cleaned: list[str] = []
    try:
        if context.daemon is None:  # one that runs knows its log
            await context.call(Witness(context.settings).check, context.store)
            await context.call(context.store.log.head)
        held = NewEvent(f"node:{context.node}", NodeHeld(context.node, "shutdown"))
        await context.append_promptly([held], call.caller.actor, call.cause)
        cancelled = await _cancel_here(call, command.grace_s)
        if not command.keep:
            busy = frozenset(task.id for task in await context.rows(context.views.open_tasks))
            cleaned = await clean_runs(call, busy)
    except StoreUnsafe as error:
        # Nothing can be recorded in such a log, and what ran here ends with its daemon. That is no reason to go on.
        await call.note(f"stopping without a record, and cleaning nothing: {error.line()}", "warn")
    context.stop_store = True
    if context.daemon:
        call.then(context.daemon.stop)
    return p.Done(
        {"node": context.node, "cancelled": cancelled, "cleaned": cleaned, "daemon": context.daemon is not None}
    )


async def _cancel_here(call: Call, grace_s: float) -> list[str]:
    """Cancel the tasks that run on this node, and return when nothing runs here any more."""
    context = call.context
    if context.daemon is None:
        return []
    tasks = context.daemon.tasks_here()
    for task in tasks:
        event = NewEvent(f"task:{task}", TaskCancelRequested(task, "shutdown"))
        await context.append_promptly([event], call.caller.actor, call.cause)
    context.daemon.stop_runs("shutdown", grace_s)
    with trio.move_on_after(grace_s + KILL_S):
        await context.daemon.run_gone("")
    return tasks


HANDLERS: dict[type[p.Command], Handler] = {p.Up: up, p.NodeList: list_nodes, p.Shutdown: shutdown}
