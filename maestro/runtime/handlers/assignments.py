"""The handler of `agent assign`. The place is checked against all others, in a decision that the log can refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from maestro.model.agent import Assignment
from maestro.model.assignment import assigned_in
from maestro.model.events import AgentAssigned, NewEvent
from maestro.model.ids import check_id
from maestro.runtime.handlers.agent_list import answer, find
from maestro.runtime.handlers.agents import stop_agent
from maestro.runtime.monitor.examination import refresh
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.forwards.forwarding import forward
from maestro.runtime.node.interim_stop import stopped_meanwhile
from maestro.runtime.node.resume import resume
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.assignment import assignment_events, is_stranded
from maestro.runtime.provision.place_guard import check_place
from maestro.runtime.provision.settlement import remember
from maestro.runtime.provision.type_binding import resolve_type, tell_notices
from maestro.runtime.provision.workspace_setup import make_workspace, warn_of_disk
from maestro.runtime.restores.across.pending import check_not_pending

MOVED = "assigned elsewhere"
"""Why an agent is stopped for a move by force."""


async def assign(call: Call, command: p.AgentAssign) -> p.Done:
    """Create an agent and its workspace, or give it another role, priority or workspace."""
    context = call.context
    agent = command.type if command.name is None else command.name
    check_id(agent, "agent")  # before anything is made, or said, of a folder that it would name
    if command.node not in (None, context.node):
        return await forward(call, str(command.node), command)
    definition, settings = await resolve_type(call, command.type)
    await tell_notices(call, definition)
    if command.to_workspace is not None:
        await warn_of_disk(call)
    wanted = Assignment(
        agent=agent,
        type=command.type,
        definition=definition.to_dict(),
        workspace_root=str(settings.workspace_root),
        role=command.role,
        priority=command.priority,
        node=command.node or (context.node if command.to_workspace is not None else None),
    )

    async def decision(stopped: bool = False) -> list[NewEvent]:
        place = await check_place(call, agent, command.to_workspace, wanted.node)
        assigned = msgspec.structs.replace(wanted, workspace=place.workspace)
        return await assignment_events(call, assigned, place, stopped)

    if command.to_workspace is None and (row := await context.row(context.views.agent, agent)) is not None:
        await refresh(call, [row])  # the agent keeps its workspace only if that is there
    # Decided before anything is done: a refused assignment makes no folder, and stops no run.
    planned = assigned_in(await decision(stopped=command.force))
    if planned.workspace is not None and command.to_workspace is not None and wanted.node == context.node:
        await make_workspace(planned.workspace, definition)
    row = await context.row(context.views.agent, agent)
    if row is not None and (row.workspace, row.node) == (planned.workspace, planned.node):
        await check_not_pending(context, agent)
    if command.force and row is not None:
        async with stopped_meanwhile(call, row, MOVED):
            await _stop_before_move(call, planned)
            await _append(call, decision)
    else:
        await _append(call, decision)
    assigned = await find(context, agent)
    await remember(context, assigned)
    await resume(call, [assigned], f"agent {agent} was assigned")
    return await answer(call, agent)


async def _append(call: Call, decision: Callable[[], Awaitable[list[NewEvent]]]) -> None:
    async with call.context.placing:
        await call.context.decide(call, decision)


async def _stop_before_move(call: Call, planned: AgentAssigned) -> None:
    """For `--force`: stop an agent that is to move and runs, and wait until its run has ended.

    A run on a lost node is not waited for: its end goes with the move, and its task goes on at the new place.
    """
    context = call.context
    row = await context.row(context.views.agent, planned.agent)
    if row is None or not row.run or (row.workspace, row.node) == (planned.workspace, planned.node):
        return
    if not await is_stranded(call, row):
        await stop_agent(call, row.id, force=True, reason=MOVED)


HANDLERS: dict[type[p.Command], Handler] = {p.AgentAssign: assign}
