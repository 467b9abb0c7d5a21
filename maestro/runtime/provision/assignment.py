"""An assignment, decided: everything that giving an agent a checked place appends to the log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from maestro.model.agent import Agent, Assignment, decide_assign, decide_register
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Refused
from maestro.model.events import AgentAssigned, AgentRegistered, NewEvent
from maestro.model.health import check_kept, still_lost
from maestro.model.placement import decide_claim
from maestro.model.scheduling.endings import decide_stranded, find_stranded
from maestro.model.task import Task
from maestro.runtime.node.context import Call
from maestro.runtime.provision.workspace_setup import Place


async def decide_assignment(call: Call, wanted: Assignment, place: Place, stopped: bool = False) -> list[NewEvent]:
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
    stranded = None if row is None else await stranded_run(call, row, lost, floor)
    if row is not None and stopped:
        row = msgspec.structs.replace(row, running=False)
    source = AgentDefinition(wanted.definition).source
    registered = decide_register(AgentRegistered(wanted.type, wanted.definition, source), kind, floor)
    assigned = decide_assign(wanted, row, stranded, floor, lost)
    fact = assigned_in(assigned)
    unhealthy = still_lost(fact.agent, nodes.get(fact.node or ""))
    return [*registered, *assigned, *unhealthy, *decide_claim(fact, row, place.version)]


async def stranded_run(call: Call, row: Agent, lost: set[str], floor: int) -> NewEvent | None:
    """The end of the agent's run on a lost node, which goes with a move."""
    context = call.context
    task: Task | None = None
    if row.running and row.task:
        task = await context.row(context.views.task, row.task)
    run = find_stranded(row, task, lost)
    return None if run is None or task is None else decide_stranded(task, run, floor)


def assigned_in(events: Sequence[NewEvent]) -> AgentAssigned:
    fact = next((event.fact for event in events if isinstance(event.fact, AgentAssigned)), None)
    if fact is None:
        raise Refused("there is nothing to assign")
    return fact
