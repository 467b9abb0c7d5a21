"""Reads what the decision on a dispatch by a process inside a run must know: the runs above, and what they made."""

from __future__ import annotations

from functools import partial

from maestro.model.definition import AgentDefinition
from maestro.model.errors import Refused
from maestro.model.events import TaskDispatched
from maestro.model.ids import task_of_run
from maestro.model.scheduling.delegation import DEPTH_MAX, NUMBER_MAX, Delegation, Delegator, decide_delegation
from maestro.model.task import Run, Task
from maestro.runtime.handlers.task_sets.started_definitions import definition_at
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.ids import id_of_delegated

OF_RUN = "run:"
"""What the name of an actor begins with that is a process of a run."""


async def delegated(call: Call, asked: TaskDispatched) -> TaskDispatched:
    """The dispatch that a process of the run `call.run` asks for, with its id. Its cause is the release of that run, as
    of all events about it. Raises Refused for what the run may not dispatch.
    """
    context = call.context
    agents = {agent.id: agent for agent in await context.agents()}
    above: list[Delegator] = []
    run = call.run
    while run and len(above) <= DEPTH_MAX:
        task, found = await _run(context, run)
        if not above:
            call.cause = str(found.token)
        known = agents.get(found.agent)
        kind = "" if known is None else known.type
        right = None
        if known is not None:
            told = await context.call(definition_at, context.store, known, found.started_at)
            right = AgentDefinition(told).delegate
        above.append(Delegator(run, found.agent, kind, found.workspace, right))
        run = task.actor.removeprefix(OF_RUN) if task.actor.startswith(OF_RUN) else ""
    id_of = partial(id_of_delegated, context.settings.namespace, call.run)
    count = 0 if above[0].delegate is None else above[0].delegate.max
    made = await _made(context, [id_of(number) for number in range(1, count + 1)])
    if asked.key is not None and all(made):  # more may have been made where `max` was higher
        beyond = await _made(context, [id_of(number) for number in range(count + 1, NUMBER_MAX + 1)])
    else:
        beyond = []
    return decide_delegation(asked, Delegation(above, made, list(agents.values()), beyond), id_of)


async def _made(context: Context, ids: list[str]) -> list[Task | None]:
    there = {task.id: task for task in await context.rows(context.views.tasks_named, ids)} if ids else {}
    return [there.get(id) for id in ids]


async def _run(context: Context, run: str) -> tuple[Task, Run]:
    """A run, and its task. Raises Refused where it is not known."""
    task = await context.row(context.views.task, task_of_run(run))
    found = next((each for slot in task.slots for each in slot.runs if each.id == run), None) if task else None
    if task is None or found is None:
        raise Refused(
            f"run {run} is not known, so nothing can be dispatched for it", mend="run this outside of the agent"
        )
    return task, found
