"""`agent register|assign|list|stop|restart|reset|logs`: agents, from their definitions to their workspaces."""

from __future__ import annotations

import msgspec
import trio

from maestro.agents import definitions, registration
from maestro.agents.definitions import Definition
from maestro.model.agent import (
    Agent,
    Assignment,
    decide_assign,
    decide_register,
    decide_reset,
    decide_restart,
    decide_stop,
)
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import AgentAssigned, AgentRegistered, NewEvent
from maestro.model.ids import shown
from maestro.runtime import protocol as p
from maestro.runtime.context import Call, Context
from maestro.runtime.handlers import tasks
from maestro.runtime.handlers.nodes import resume
from maestro.runtime.handlers.registering import bind, caller_settings, resolve_type
from maestro.runtime.interim import stopped_meanwhile
from maestro.runtime.rows import Row, agent_row
from maestro.runtime.server import Handler
from maestro.runtime.snapshots.deleting import clear
from maestro.runtime.tailing import tail_runs
from maestro.runtime.workplaces import (
    check_runs_place,
    check_unmounted,
    check_workspace,
    make_workspace,
    refill_workspace,
)

STATES = ("all", "active", "idle", "failed", "stopped")
STOP_WAIT_S = 60.0
MOVED = "assigned elsewhere"


async def find(context: Context, agent: str) -> Agent:
    """One agent. Raises NotFound."""
    row = await context.row(context.views.agent, agent)
    if row is None:
        raise NotFound(f"there is no agent {shown(agent)}", mend="agent list shows all, agent assign makes one")
    return row


async def shown_agents(context: Context, agents: list[Agent]) -> list[Row]:
    """Rows of agents with their last heartbeats."""
    keys = [f"agent:{agent.id}:last_heartbeat" for agent in agents]
    samples = await context.call(context.store.work.samples, keys) if keys else []
    now = await context.now()
    return [agent_row(agent, sample, now) for agent, sample in zip(agents, samples, strict=True)]


async def _answer(call: Call, agent: str) -> p.Done:
    row = await find(call.context, agent)
    return p.Done((await shown_agents(call.context, [row]))[0])


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
    for info in await trio.to_thread.run_sync(definitions.types, caller_settings(call).agents_dirs):
        if info.valid and info.file != definitions.BUILT_IN:
            definition = await trio.to_thread.run_sync(_load, info.slug, caller_settings(call).agents_dirs)
            await call.item(await _register(call, definition))
        elif not info.valid:
            await call.note(f"{info.slug} is not valid: {info.reason}", "warn")
    return p.Done()


def _load(slug: str, dirs: tuple[object, ...]) -> Definition:
    return definitions.load(slug, [str(folder) for folder in dirs])


async def _register(call: Call, definition: Definition) -> Row:
    context = call.context
    settings = caller_settings(call)
    resolved = await trio.to_thread.run_sync(bind, call, definition, settings)
    for notice in registration.notices(resolved):
        await call.note(notice, "warn")
    wanted = AgentRegistered(resolved.slug, resolved.to_dict(), resolved.source)

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.type, resolved.slug)
        return decide_register(wanted, row, await context.floor())

    await context.decide(call, decision)
    return {
        "slug": resolved.slug,
        "adapter": resolved.adapter,
        "mode": resolved.mode,
        "executable": resolved.executable,
        "version": resolved.found_version or None,
        "capabilities": list(resolved.capabilities),
        "source": resolved.source,
    }


async def assign(call: Call, command: p.AgentAssign) -> p.Done:
    """Create an agent and its workspace; or give it another role, priority or workspace."""
    context = call.context
    agent = command.name or command.type
    definition, settings = await resolve_type(call, command.type)
    for notice in registration.notices(definition):
        await call.note(notice, "warn")
    workspace = None
    if command.to_workspace is not None:
        workspace = await check_workspace(call, agent, command.to_workspace, command.node)
    else:
        await check_runs_place(call, agent)
    wanted = Assignment(
        agent=agent,
        type=command.type,
        definition=definition.to_dict(),
        workspace_root=str(settings.workspace_root),
        workspace=workspace,
        role=command.role,
        priority=command.priority,
        node=command.node or (context.node if workspace else None),
    )

    async def decision(stopped: bool = False) -> list[NewEvent]:
        row = await context.row(context.views.agent, agent)
        if row is not None and stopped:
            row = msgspec.structs.replace(row, running=False)
        floor = await context.floor()
        kind = await context.row(context.views.type, command.type)
        registered = decide_register(AgentRegistered(command.type, wanted.definition, definition.source), kind, floor)
        return [*registered, *decide_assign(wanted, row, floor=floor)]

    planned = (await decision(stopped=command.force))[-1].fact  # what is refused makes no folder, and stops no run
    if workspace is not None and wanted.node == context.node:
        await make_workspace(workspace, definition)
    row = await context.row(context.views.agent, agent)
    if command.force and isinstance(planned, AgentAssigned) and row is not None:
        async with stopped_meanwhile(call, row, MOVED):
            await _stop_before_move(call, planned)
            await context.decide(call, decision)
    else:
        await context.decide(call, decision)
    await resume(call, [await find(context, agent)], f"agent {agent} was assigned")
    return await _answer(call, agent)


async def _stop_before_move(call: Call, planned: AgentAssigned) -> None:
    """For `--force`: end the run of an agent that is to move, if it has one, and wait until it is gone."""
    context = call.context
    row = await context.row(context.views.agent, planned.agent)
    if row is not None and row.run and (row.workspace, row.node) != (planned.workspace, planned.node):
        await stop_agent(call, row.id, force=True, reason=MOVED)


async def stop_agent(call: Call, agent: str, force: bool, reason: str) -> None:
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, agent)
        return decide_stop(agent, row, reason, force, await context.floor())

    await context.decide(call, decision)
    with trio.move_on_after(STOP_WAIT_S) as scope:
        while True:
            found = await context.call(context.views.agent, agent)
            if found.row is None or not found.row.run:
                break
            await context.changed(found.checkpoint.seq)
    if scope.cancelled_caught:
        raise Refused(f"agent {agent} did not stop within {STOP_WAIT_S:.0f} s", mend="its node may be away: node list")


async def list_agents(call: Call, command: p.AgentList) -> p.Done:
    """All agents, or those of a state."""
    context = call.context
    if command.status not in STATES:
        raise Invalid(f"status {shown(command.status)} is unknown", mend=f"use one of {', '.join(STATES)}")
    state = None if command.status == "all" else command.status
    for row in await shown_agents(context, await context.rows(context.views.agents, state)):
        await call.item(row)
    return p.Done()


async def stop(call: Call, command: p.AgentStop) -> p.Done:
    """Stop one agent without touching others; returns when its run has ended."""
    await stop_agent(call, command.id, command.force, "agent stop")
    return await _answer(call, command.id)


async def restart(call: Call, command: p.AgentRestart) -> p.Done:
    """Let it take work again."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, command.id)
        return decide_restart(command.id, row, await context.floor())

    await context.decide(call, decision)
    await resume(call, [await find(context, command.id)], f"agent {command.id} was restarted")
    return await _answer(call, command.id)


async def reset(call: Call, command: p.AgentReset) -> p.Done:
    """Stop it, take a snapshot, clear its workspace, make that again from the template; then it takes work again."""
    context = call.context
    agent = await find(context, command.id)
    await check_unmounted(context, agent)
    before: str | None = None

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, command.id)
        return decide_reset(command.id, row, before, await context.floor())

    async with stopped_meanwhile(call, agent, "agent reset"):
        await stop_agent(call, command.id, force=False, reason="agent reset")
        deleted = await clear(call, agent, "reset")
        before = deleted.snapshot if deleted is not None else None
        with trio.CancelScope(shield=True):  # what is cleared is made anew
            await refill_workspace(context, agent)
            await context.decide(call, decision)
    return await _answer(call, command.id)


async def logs(call: Call, command: p.AgentLogs) -> p.Done:
    """The output of its current or last run."""
    context = call.context
    agent = await find(context, command.id)
    task_id = agent.task or agent.last_task
    task = await tasks.find(context, task_id) if task_id else None
    runs = [run.id for slot in task.slots for run in slot.runs if run.agent == agent.id] if task else []
    if not runs:
        raise NotFound(f"agent {agent.id} has not run yet", mend=f"task dispatch <prompt> --to {agent.id}")
    await tail_runs(call, [runs[-1]], command.follow, command.lines)
    return p.Done()


HANDLERS: dict[type[p.Command], Handler] = {
    p.AgentRegister: register,
    p.AgentAssign: assign,
    p.AgentList: list_agents,
    p.AgentStop: stop,
    p.AgentRestart: restart,
    p.AgentReset: reset,
    p.AgentLogs: logs,
}
