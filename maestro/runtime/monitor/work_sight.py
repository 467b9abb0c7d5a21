"""What a node sees of an agent's work: how its last runs ended, and what waits for it.

It is looked at where somebody asks for one agent: what it tells is notable at most, so no heartbeat needs it.
"""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.monitoring.sights import SeenQueue, Sight
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.waiting import why_waiting
from maestro.runtime.node.context import Context

TASKS_MAX = 10
"""How many of its newest tasks are looked through for an agent's last runs."""


async def work_of(context: Context, agent: Agent) -> Sight:
    """The outcomes of the agent's last runs, and the task that waits longest for it."""
    views = context.views
    own = await context.rows(views.tasks, agent.id, limit=TASKS_MAX)
    steps = await context.rows(views.step_tasks, agent.id, limit=TASKS_MAX)
    runs = [run for task in (*own, *steps) for slot in task.slots for run in slot.runs if run.agent == agent.id]
    ended = sorted((run for run in runs if run.ended_at), key=lambda run: -run.ended_at)
    queue = None if context.daemon is None else await _queue(context, context.daemon.follower.plan, agent)
    return Sight(outcomes=tuple(run.outcome for run in ended), queue=queue)


async def _queue(context: Context, plan: Plan, agent: Agent) -> SeenQueue:
    """The task that has been ready longest for an agent, itself or a pool that it is in, of the first of each lane."""
    now = await context.now()
    entries = [entry for target in plan.crew.answers(agent.id) for entry in plan.lanes.firsts(target)]
    if not entries:
        return SeenQueue()
    since, entry = min((plan.census.since(entry.task, entry.slot), entry) for entry in entries)
    why = why_waiting(plan, plan.tasks[entry.task], entry.slot, now)
    return SeenQueue(entry.task, max(0, now - since) / 1000, why)
