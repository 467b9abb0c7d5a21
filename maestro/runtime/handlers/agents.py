"""The handlers of `agent register|stop|restart|reset|logs`."""

from __future__ import annotations

import trio

from maestro.agents import definitions, registration
from maestro.agents.definitions import Definition
from maestro.model.agent import Agent, decide_register, decide_reset, decide_stop
from maestro.model.assignment import decide_renewal, why_not_renewed
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import AgentRegistered, NewEvent
from maestro.model.health import check_kept, decide_taking_work
from maestro.model.scheduling.explanation import why_not_over
from maestro.model.task import Task
from maestro.runtime.handlers import task_list
from maestro.runtime.handlers.agent_list import answer, find
from maestro.runtime.handlers.run_output import send_end, tail_runs
from maestro.runtime.handlers.wait_notice import NODE_AWAY, notice_of_wait
from maestro.runtime.monitor.examination import refresh
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.forwards.forwarding import forward
from maestro.runtime.node.interim_stop import stopped_meanwhile
from maestro.runtime.node.resume import resume
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.settlement import remember
from maestro.runtime.provision.type_binding import bind, caller_settings, tell_notices
from maestro.runtime.provision.workspace_setup import check_unmounted, lies_elsewhere, refill_workspace
from maestro.runtime.restores.across.pending import check_not_pending
from maestro.runtime.server.id_prefixes import agent_meant, check_whole_agent
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots.deletion import clear

STOP_WAIT_S = 60.0


async def register(call: Call, command: p.AgentRegister) -> p.Done:
    """Validate and register one definition, or all of agents.d."""
    if command.type is not None and command.definition is not None:
        raise Invalid("a type and a file were both given", mend="name one of them")
    if command.definition is not None:
        text, where = command.definition, command.file or "definition"
        return p.Done(await _register(call, await trio.to_thread.run_sync(definitions.parse, text, where)))
    if command.type is not None:
        settings = caller_settings(call)
        return p.Done(await _register(call, await trio.to_thread.run_sync(_load, command.type, settings.agents_dirs)))
    invalid = 0
    for info in await trio.to_thread.run_sync(definitions.types, caller_settings(call).agents_dirs):
        if info.valid and info.file != definitions.BUILT_IN:
            definition = await trio.to_thread.run_sync(_load, info.slug, caller_settings(call).agents_dirs)
            await call.item(await _register(call, definition))
        elif not info.valid:
            invalid += 1
            await call.note(f"{info.slug} is not valid: {info.reason}", "warn")
    return p.Done(None, 2 if invalid else 0)


def _load(slug: str, dirs: tuple[object, ...]) -> Definition:
    return definitions.load(slug, [str(folder) for folder in dirs])


async def _register(call: Call, definition: Definition) -> Row:
    context = call.context
    settings = caller_settings(call)
    resolved = await trio.to_thread.run_sync(bind, call, definition, settings)
    await tell_notices(call, resolved)
    wanted = AgentRegistered(resolved.slug, resolved.to_dict(), resolved.source)
    taken: dict[str, str] = {}
    left: dict[str, str] = {}
    # Whose workspace has vanished becomes ill first: an assignment would forget that it was there.
    await refresh(call, [agent for agent in await context.agents() if agent.type == resolved.slug])

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.type, resolved.slug)
        floor = await context.floor()
        events = decide_register(wanted, row, floor)
        taken.clear()
        left.clear()
        for agent in await context.agents():
            keys = _differing(agent, resolved, context.node) if agent.type == resolved.slug else []
            why = why_not_renewed(agent, context.node) if keys else ""
            if why:
                left[agent.id] = why
            elif keys:
                taken[agent.id] = ", ".join(keys)
                events.append(decide_renewal(agent, wanted, max(agent.version, floor)))
        return events

    await context.decide(call, decision)
    for name, keys in taken.items():
        await remember(context, await find(context, name))
        await call.note(f"agent {name} takes it from its next run on: {keys}")
    for name, why in left.items():
        await call.note(f"agent {name} works by another definition, and {why}", "warn")
    return {
        "slug": resolved.slug,
        "adapter": resolved.adapter,
        "mode": resolved.mode,
        "executable": resolved.executable,
        "version": resolved.found_version or None,
        "capabilities": list(resolved.capabilities),
        "source": resolved.source,
        "agents": list(taken),
    }


def _differing(agent: Agent, current: Definition, here: str) -> list[str]:
    """The keys in which an agent's definition differs from one that was resolved on the node `here`, and whether its
    program is another one there.
    """
    recorded = Definition.from_dict(agent.definition)
    keys = registration.differences(recorded, current)
    is_bound = (recorded.executable, recorded.stamp) == (current.executable, current.stamp)
    return keys if is_bound or agent.node not in (None, here) else [*keys, "the program"]


async def stop_agent(call: Call, agent: str, force: bool, reason: str) -> None:
    """Stop an agent; return when its run has ended. force: kill the run at once.

    Raises NotFound; Refused where the run does not end in time.
    """
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, agent)
        return decide_stop(agent, row, reason, force, await context.floor())

    await context.decide(call, decision)
    with trio.move_on_after(STOP_WAIT_S) as scope:
        async with notice_of_wait(call, lambda: _why_on(context, agent)):
            await _run_over(context, agent)
    if scope.cancelled_caught:
        why = await _why_on(context, agent)
        raise Refused(f"agent {agent} did not stop within {STOP_WAIT_S:.0f} s: {why}", mend=NODE_AWAY)


async def _run_over(context: Context, agent: str) -> None:
    """Return when the agent has no run, and no other one works in its workspace."""
    while True:
        found = await context.call(context.views.agent, agent)
        if found.row is None or not (found.row.run or _is_worked_in(context, agent)):
            return
        await context.changed(found.checkpoint.seq)


def _is_worked_in(context: Context, agent: str) -> bool:
    """Whether a step of a workflow, which another agent works for, is in the workspace of this one."""
    lives = context.daemon.follower.plan.crew.live.values() if context.daemon else ()
    return any(live.owner == agent for live in lives)


async def _why_on(context: Context, agent: str) -> str:
    """What keeps an agent's run from having ended, in words."""
    row = await find(context, agent)
    task: Task | None = None
    if row.task:
        task = await context.row(context.views.task, row.task)
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    leased = {name for name in nodes if await context.call(context.store.work.lease_holder, f"node:{name}")}
    return why_not_over(task, nodes, leased) or "its run has ended"


async def stop(call: Call, command: p.AgentStop) -> p.Done:
    """Stop one agent, without touching others; returns when its run has ended."""
    await check_whole_agent(call.context, command.id, "agent stop")
    await stop_agent(call, command.id, command.force, "agent stop")
    return await answer(call, command.id)


async def restart(call: Call, command: p.AgentRestart) -> p.Done:
    """Let an agent take work again, by its definition as that is now."""
    context = call.context
    await check_whole_agent(context, command.id, "agent restart")
    await check_not_pending(context, command.id)
    await refresh(call, [await find(context, command.id)])
    current = await _edited(call, await find(context, command.id))

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, command.id)
        nodes = {node.id: node for node in await context.rows(context.views.nodes)}
        floor = await context.floor()
        events = decide_taking_work(command.id, row, nodes, floor)
        if current is None or row is None or row.type != current.slug:
            return events
        registered = AgentRegistered(current.slug, current.to_dict(), current.source)
        kind = await context.row(context.views.type, current.slug)
        events.insert(1, decide_renewal(row, registered))  # what makes it unhealthy again comes last
        return [*decide_register(registered, kind, floor), *events]

    await context.decide(call, decision)
    restarted = await find(context, command.id)
    if current is not None:
        await remember(context, restarted)
    await resume(call, [restarted], f"agent {command.id} was restarted")
    return await answer(call, command.id)


async def _edited(call: Call, agent: Agent) -> Definition | None:
    """The definition of an agent of this node as it is now, where its file has changed; None where it works on as it
    did: a definition that cannot be had is told, and hinders no restart.
    """
    settings = caller_settings(call)
    if agent.node not in (None, call.context.node):
        return None

    def look() -> tuple[Definition | None, list[str]]:
        recorded = Definition.from_dict(agent.definition)
        current = definitions.reload(recorded, settings.agents_dirs)
        keys = registration.differences(recorded, current)
        if keys:
            check_kept(agent, None)
        return (bind(call, current, settings) if keys else None), keys

    try:
        current, keys = await trio.to_thread.run_sync(look)
    except MaestroError as error:
        await call.note(f"agent {agent.id} works by its definition as it was: {error.line()}", "warn")
        return None
    if current is not None:
        await call.note(f"agent {agent.id} takes its definition as it is now: {', '.join(keys)}")
    return current


async def reset(call: Call, command: p.AgentReset) -> p.Done:
    """Stop an agent, take a snapshot, clear its workspace, fill that from the template; then it takes work again."""
    context = call.context
    await check_whole_agent(context, command.id, "agent reset")
    agent = await find(context, command.id)
    if lies_elsewhere(context, agent):
        return await forward(call, str(agent.node), command)
    await check_unmounted(context, agent)
    before: str | None = None

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, command.id)
        return decide_reset(command.id, row, before, await context.floor())

    async with stopped_meanwhile(call, agent, "agent reset"):
        await stop_agent(call, command.id, force=False, reason="agent reset")
        deleted = await clear(call, agent, "reset")
        before = deleted.snapshot if deleted is not None else None
        with trio.CancelScope(shield=True):  # a cleared workspace is filled again, whoever still listens
            await refill_workspace(context, agent)
            await context.decide(call, decision)
    return await answer(call, command.id)


async def logs(call: Call, command: p.AgentLogs) -> p.Done:
    """Send the output of an agent's current or last run."""
    context = call.context
    agent = await find(context, await agent_meant(context, command.id))
    task_id = agent.task or agent.last_task
    task = await task_list.find(context, task_id) if task_id else None
    runs = [run.id for slot in task.slots for run in slot.runs if run.agent == agent.id] if task else []
    if not runs:
        raise NotFound(f"agent {agent.id} has not run yet", mend=f"maestro task dispatch <prompt> --to {agent.id}")
    if command.end > 0:
        await send_end(call, runs[-1], command.end)
    else:
        await tail_runs(call, [runs[-1]], command.follow, command.lines)
    return p.Done()


HANDLERS: dict[type[p.Command], Handler] = {
    p.AgentRegister: register,
    p.AgentStop: stop,
    p.AgentRestart: restart,
    p.AgentReset: reset,
    p.AgentLogs: logs,
}
