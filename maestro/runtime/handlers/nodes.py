"""The handlers of `up`, `shutdown` and `node list|drain|forget`: this node's daemon, and the other nodes."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from maestro.model.errors import Refused, StoreUnsafe
from maestro.model.events import NewEvent, NodeHeld, TaskCancelRequested
from maestro.model.node import Node, decide_drain, decide_forget
from maestro.runtime.handlers.diagnosis import segments_reach
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.daemon_lock import DaemonLock, holder
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.node.resume import resume
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores.across.pending import NodeStatus, pending, told_of
from maestro.runtime.server.rows import Row, node_row
from maestro.runtime.snapshots.run_folders import clean_runs
from maestro.runtime.snapshots.shared.identity import named, standing, told
from maestro.runtime.worker import janitor
from maestro.store.embedded import choice
from maestro.store.redis import safety
from projections.view_reader import ALL

KILL_S = 5.0
START_THERE = "it takes work when its daemon runs again (there: maestro up)"
OTHER_S_MAX = 10.0
"""How long a shutdown waits for another one that ends what a daemon has left."""


async def up(call: Call, command: p.Up) -> p.Done:
    """End the hold of this node, whose daemon the client has started if none ran."""
    await resume(call, [], "up")
    found = await standing(call.context)
    if found.trouble:
        await call.note(f"{found.trouble}; {found.mend}", "warn")
    await _warn_of_store(call)
    apart = await segments_reach.apart(call.context)
    if apart is not None and apart.meant:
        await call.note(f"{apart.why}; {segments_reach.MEND}", "warn")
    node = await _node(call.context, call.context.node)
    if node is not None and node.drained:
        await call.note(f"this node takes nothing until `maestro node drain {node.id} --undo`", "warn")
    return p.Done(await _row(call.context, call.context.node))


async def _warn_of_store(call: Call) -> None:
    """Tell what the store may lose though it is not refused: one at a set URL need not have an append-only file."""
    context = call.context
    kind = (await trio.to_thread.run_sync(choice.choose, context.settings)).kind
    for check in safety.checks(await context.call(context.store.describe), kind):
        if not check.ok and check.level == "warn":
            await call.note(f"the store: {check.detail}; {check.remedy}", "warn")


async def list_nodes(call: Call, command: p.NodeList) -> p.Done:
    """List all nodes, with how many runs are on there."""
    for row in await told_all(call.context):
        await call.item(row)
    return p.Done()


async def told_all(context: Context) -> list[Row]:
    """The rows of all nodes, as `node list` has them."""
    nodes = await context.rows(context.views.nodes)
    running: dict[str, int] = {}
    for task in await context.rows(context.views.queue, "processing", limit=ALL):
        for slot in task.slots:
            if slot.status == "running" and slot.runs[-1].node:
                where = slot.runs[-1].node
                running[where] = running.get(where, 0) + 1
    samples = await context.call(context.store.work.samples, [f"node:{node.id}:seen" for node in nodes])
    now = await context.now()
    shared = await named(context)
    rows = []
    left = await pending(context)
    agents = {agent.id: agent for agent in await context.agents()} if left else {}
    for node, sample in zip(nodes, samples, strict=True):
        holder = await context.call(context.store.work.lease_holder, f"node:{node.id}")
        age_s = None if sample is None or "at" not in sample else max(0, now - int(sample["at"])) / 1000
        mine = [each for each in left if each[1].node == node.id]
        owed = [str((await told_of(NodeStatus(context), *each, agents))["what"]) for each in mine]
        row = node_row(node, holder is not None, running.get(node.id, 0), age_s)
        reached = (sample or {}).get("archive", node.archive) if node.status == "up" else node.archive
        rows.append(row | {"archive": told(reached, shared), "pending": owed})
    return rows


async def drain(call: Call, command: p.NodeDrain) -> p.Done:
    """Have a node take nothing new until that is undone; its daemon ends when the last run there has ended."""
    context = call.context

    async def decision() -> list[NewEvent]:
        return decide_drain(command.id, await _node(context, command.id), command.undo, await context.floor())

    await context.decide(call, decision)
    row = await _row(context, command.id)
    if not command.undo and row["status"] != "up":
        how = "has left" if row["status"] == "left" else f"is {row['status']}"
        told = f"node {command.id} {how}, and takes nothing when it is back either"
        await call.note(f"{told}, until `maestro node drain {command.id} --undo`")
    elif not command.undo and row["running"]:
        runs = f"{row['running']} run{'' if row['running'] == 1 else 's'}"
        await call.note(f"node {command.id} finishes {runs}, then its daemon ends: maestro node list shows it")
    is_started = command.id == context.node and context.settings.autostart
    if command.undo and row["status"] != "up" and not is_started:
        await call.note(f"node {command.id} is {row['state']}: {START_THERE}", "warn")
    return p.Done(row)


async def forget(call: Call, command: p.NodeForget) -> p.Done:
    """Give up a node that is away, and to which nothing is bound any more."""
    context = call.context

    async def decision() -> list[NewEvent]:
        agents = await context.agents()
        return decide_forget(command.id, await _node(context, command.id), agents, await context.floor())

    await context.decide(call, decision)
    return p.Done(await _row(context, command.id))


async def _node(context: Context, name: str) -> Node | None:
    return next((node for node in await context.rows(context.views.nodes) if node.id == name), None)


async def _row(context: Context, name: str) -> Row:
    return next(row for row in await told_all(context) if row["id"] == name)


async def shutdown(call: Call, command: p.Shutdown) -> p.Done:
    """Hold the node, cancel its runs, wait, kill, clean, then stop the daemon and the embedded store.

    All of it once it has begun, also without the client: a node that is held and does not end would wait for ever.
    """
    with trio.CancelScope(shield=True):
        done = await _shut_down(call, command)
    return done


async def _shut_down(call: Call, command: p.Shutdown) -> p.Done:
    context = call.context
    if context.daemon is None:
        await trio.to_thread.run_sync(_end_left_behind, context.settings.home)
    cancelled: list[str] = []
    cleaned: list[str] = []
    try:
        if context.daemon is None:  # a daemon that runs has checked its log
            await context.call(KnownHead(context.settings).check, context.store)
            await context.call(context.store.log.head)
        held = NewEvent(f"node:{context.node}", NodeHeld(context.node, "shutdown"))
        await context.submit([held], call.caller.actor, call.cause)
        cancelled = await _cancel_here(call, command.grace_s)
        if not command.keep:
            busy = frozenset(task.id for task in await context.rows(context.views.open_tasks))
            cleaned = await clean_runs(call, busy)
    except StoreUnsafe as error:
        # Nothing can be appended to an unsafe log, but the daemon is to stop all the same; its runs end with it.
        await call.note(f"stopping without a record, and cleaning nothing: {error.line()}", "warn")
    context.stop_store = True
    if context.daemon:
        call.after_answer(context.daemon.stop)
    return p.Done(
        {"node": context.node, "cancelled": cancelled, "cleaned": cleaned, "daemon": context.daemon is not None}
    )


def _end_left_behind(home: Path) -> None:
    """End the runs that a daemon which was killed has left, after another shutdown that is at it. Blocks.

    Raises Refused where the daemon lives, and only its socket is gone.
    """
    deadline = time.monotonic() + OTHER_S_MAX
    while (lock := _lock(home)) is None:
        other = holder(home)
        if other is not None and time.monotonic() > deadline:
            raise Refused(f"the daemon of this node ({other.name}) lives, and is not this one", mend=other.remedy)
        time.sleep(0.05)
    try:
        janitor.sweep(home)
    finally:
        lock.release()


def _lock(home: Path) -> DaemonLock | None:
    """The daemon lock; None where another process has it."""
    try:
        return DaemonLock.take(home)
    except Refused:
        return None


async def _cancel_here(call: Call, grace_s: float) -> list[str]:
    """Cancel the tasks that run on this node, and return their ids when no run is on here any more."""
    context = call.context
    if context.daemon is None:
        return []
    tasks = context.daemon.runs.tasks()
    for task in tasks:
        event = NewEvent(f"task:{task}", TaskCancelRequested(task, "shutdown"))
        await context.append([event], call.caller.actor, call.cause)
    context.daemon.runs.stop_all("shutdown", grace_s=grace_s)
    with trio.move_on_after(grace_s + KILL_S):
        await context.daemon.runs.empty()
    return tasks


HANDLERS: dict[type[p.Command], Handler] = {
    p.Up: up,
    p.NodeList: list_nodes,
    p.NodeDrain: drain,
    p.NodeForget: forget,
    p.Shutdown: shutdown,
}
