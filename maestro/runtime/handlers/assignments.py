"""`agent assign`: an agent and its place, checked against all others in the decision that the log can refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from maestro.agents import registration
from maestro.model.agent import Agent, Assignment, decide_assign, decide_register
from maestro.model.ending import decide_stranded, find_stranded
from maestro.model.errors import Refused
from maestro.model.events import AgentAssigned, AgentRegistered, NewEvent
from maestro.model.health import check_kept, still_lost
from maestro.model.placement import decide_claim
from maestro.model.task import Task
from maestro.runtime import protocol as p
from maestro.runtime.context import Call
from maestro.runtime.examination import refresh
from maestro.runtime.handlers.agents import answer, find, stop_agent
from maestro.runtime.handlers.nodes import resume
from maestro.runtime.handlers.registering import resolve_type
from maestro.runtime.interim import stopped_meanwhile
from maestro.runtime.server import Handler
from maestro.runtime.settlement import remember
from maestro.runtime.workplaces import Place, check_place, make_workspace, warn_of_disk

MOVED = "assigned elsewhere"
"""Why an agent is stopped for a move by force."""


async def assign(call: Call, command: p.AgentAssign) -> p.Done:
    """Create an agent and its workspace; or give it another role, priority or workspace."""
    context = call.context
    agent = command.name or command.type
    definition, settings = await resolve_type(call, command.type)
    for notice in registration.notices(definition):
        await call.note(notice, "warn")
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
        return await decide(call, msgspec.structs.replace(wanted, workspace=place.workspace), place, stopped)

    if command.to_workspace is None and (row := await context.row(context.views.agent, agent)) is not None:
        await refresh(call, [row])  # it keeps its workspace, should that be there
    planned = _assigned(await decision(stopped=command.force))  # what is refused makes no folder, and stops no run
    if planned.workspace is not None and command.to_workspace is not None and wanted.node == context.node:
        await make_workspace(planned.workspace, definition)
    row = await context.row(context.views.agent, agent)
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


async def decide(call: Call, wanted: Assignment, place: Place, stopped: bool = False) -> list[NewEvent]:
    """Everything that an assignment to a checked place appends. stopped: as if the agent's run had been.

    Raises as `decide_assign`.
    """
    context = call.context
    row = await context.row(context.views.agent, wanted.agent)
    check_kept(row, wanted.workspace)
    floor = await context.floor()
    kind = await context.row(context.views.type, wanted.type)
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    lost = {node.id for node in nodes.values() if node.status == "lost"}
    stranded = None if row is None else await _stranded(call, row, lost, floor)
    if row is not None and stopped:
        row = msgspec.structs.replace(row, running=False)
    source = str(wanted.definition.get("source", ""))
    registered = decide_register(AgentRegistered(wanted.type, wanted.definition, source), kind, floor)
    assigned = decide_assign(wanted, row, stranded, floor, lost)
    fact = _assigned(assigned)
    unhealthy = still_lost(fact.agent, nodes.get(fact.node or ""))
    return [*registered, *assigned, *unhealthy, *decide_claim(fact, row, place.version)]


async def _stranded(call: Call, row: Agent, lost: set[str], floor: int) -> NewEvent | None:
    """The end of the agent's run on a lost node, which goes with a move."""
    context = call.context
    task: Task | None = None
    if row.running and row.task:
        task = await context.row(context.views.task, row.task)
    run = find_stranded(row, task, lost)
    return None if run is None or task is None else decide_stranded(task, run, floor)


def _assigned(events: Sequence[NewEvent]) -> AgentAssigned:
    fact = next((event.fact for event in events if isinstance(event.fact, AgentAssigned)), None)
    if fact is None:
        raise Refused("there is nothing to assign")
    return fact


async def _stop_before_move(call: Call, planned: AgentAssigned) -> None:
    """For `--force`: end the run of an agent that is to move, if it has one, and wait until it is gone.

    One on a lost node is not waited for: its end goes with the move, and its task goes on at the new place.
    """
    context = call.context
    row = await context.row(context.views.agent, planned.agent)
    if row is None or not row.run or (row.workspace, row.node) == (planned.workspace, planned.node):
        return
    lost = {node.id for node in await context.rows(context.views.nodes) if node.status == "lost"}
    if await _stranded(call, row, lost, 0) is None:
        await stop_agent(call, row.id, force=True, reason=MOVED)


HANDLERS: dict[type[p.Command], Handler] = {p.AgentAssign: assign}
