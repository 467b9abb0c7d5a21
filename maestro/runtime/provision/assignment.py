"""The reading of what an assignment has to know; `maestro.model.assignment` decides it."""

from __future__ import annotations

from maestro.model.agent import Agent, AgentType, Assignment
from maestro.model.assignment import AssignmentState, decide_assignment, stranded_end
from maestro.model.events import NewEvent
from maestro.model.task import Task
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.place_guard import CheckedPlace


async def assignment_events(
    call: Call, wanted: Assignment, place: CheckedPlace, stopped: bool = False
) -> list[NewEvent]:
    """All that an assignment to a checked place appends. stopped: decide as if the agent's run had ended.

    Raises as `maestro.model.assignment.decide_assignment`.
    """
    context = call.context
    row = await context.row(context.views.agent, wanted.agent)
    kind: AgentType | None = await context.row(context.views.type, wanted.type)
    known = AssignmentState(
        agent=row,
        type=kind,
        task=None if row is None else await _running_task(context, row),
        nodes={node.id: node for node in await context.rows(context.views.nodes)},
        places=place.version,
        floor=await context.floor(),
    )
    return decide_assignment(wanted, known, stopped)


async def is_stranded(call: Call, row: Agent) -> bool:
    """Whether the agent has a run on a lost node, whose end goes with a move."""
    context = call.context
    lost = {node.id for node in await context.rows(context.views.nodes) if node.status == "lost"}
    return stranded_end(row, await _running_task(context, row), lost) is not None


async def _running_task(context: Context, row: Agent) -> Task | None:
    """The task that an agent runs, None where it runs none."""
    if not (row.running and row.task):
        return None
    task: Task | None = await context.row(context.views.task, row.task)
    return task
