"""The handler of `agent assign`. The place is checked against all others, in a decision that the log can refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from maestro.agents.definitions import Definition
from maestro.config import Settings
from maestro.model.agent import Agent, Assignment
from maestro.model.assignment import assigned_in, away_with_agent, stays_on, told_move
from maestro.model.errors import Invalid, NotFound
from maestro.model.events import AgentAssigned, NewEvent
from maestro.model.ids import check_id
from maestro.model.node import Node
from maestro.runtime.handlers.agent_list import answer, find
from maestro.runtime.handlers.agents import stop_agent
from maestro.runtime.monitor.examination import refresh
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.forwards.forwarding import forward, is_up
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
    row = await context.row(context.views.agent, agent)
    if row is not None and (home := stays_on(row, command.node, command.to_workspace)):
        await _check_home(context, row, home)
        command = msgspec.structs.replace(command, node=home)
    if command.node not in (None, context.node):
        return await forward(call, str(command.node), command)
    definition, settings = await _resolved(call, command, row)
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

    if command.to_workspace is None and row is not None:
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
    await _tell(call, row, planned)
    return await answer(call, agent)


async def _check_home(context: Context, row: Agent, home: str) -> None:
    """Check that the node of an agent, on which it is to stay, can be asked. Raises Refused."""
    if home != context.node and not await is_up(context, home):
        raise away_with_agent(row, await _node(context, home), context.node)


async def _resolved(call: Call, command: p.AgentAssign, row: Agent | None) -> tuple[Definition, Settings]:
    """The definition of the type, as `resolve_type`. Raises Invalid where an agent is named in its place."""
    try:
        return await resolve_type(call, command.type)
    except NotFound:
        if row is None or command.name is not None:
            raise
        what = f"{row.id} is an agent, of type {row.type}; there is no type of that name"
        raise Invalid(what, mend=f"maestro agent assign {row.type} --name {row.id}") from None


async def _tell(call: Call, row: Agent | None, planned: AgentAssigned) -> None:
    """Tell what a move leaves behind, and that a drained node gives the agent nothing to do. row: before that."""
    if left := told_move(row, planned):
        await call.note(left, "warn")
    node = await _node(call.context, planned.node or "")
    if node is not None and node.drained:
        await call.note(f"agent {planned.agent} takes nothing until `maestro node drain {node.id} --undo`", "warn")


async def _node(context: Context, name: str) -> Node | None:
    return next((node for node in await context.rows(context.views.nodes) if node.id == name), None)


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
