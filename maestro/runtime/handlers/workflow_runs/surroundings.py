"""What surrounds a run: what the tasks of its steps wait for and use, which run has its group, what holds it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maestro.model.node import Node
from maestro.model.permissions.requests import asked_words
from maestro.model.scheduling.waiting import Reasons
from maestro.model.task import Task
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.status import Surroundings
from maestro.runtime.handlers.task_sets.reasons import paused_since, reasons_of
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.rows import when
from projections.view_reader import ALL

ROOM = "a slot"
"""How the reasons begin of a task for which no node has room; all others have to do with its agent."""
OWN_TURN = "its turn"
"""The reason of what starts at once."""


async def surroundings(context: ReadContext, header: RunHeader, run: Run) -> Surroundings:
    """What surrounds a run now."""
    now = await context.now()
    if run.ended:
        return Surroundings(now, when)
    tasks = await tasks_of(context, [run.instances[id].task for id in run.working if run.instances[id].task])
    usage = {task.id: _usage(task) for task in tasks}
    for id in run.working:
        child = run.instances[id].child
        found: RunHeader | None = None
        if child:
            found = await context.row(context.views.workflow_run, child)
        if found is not None:
            usage[child] = {"tokens": found.tokens, "cost": found.cost}
    holder = await _holder(context, header) if run.status == "queued" else ""
    reasons = await _reasons(context, tasks, now)
    above = await _held(context, header)
    since = await paused_since(context, [above.id]) if above is not None else {}
    return Surroundings(
        now,
        when,
        "" if above is None else "budget" if above.paused == "budget" else "pause",
        holder,
        {task.id: (_kind(reasons[task.id]), _since(task)) for task in tasks if task.id in reasons},
        {task: why for task, why in reasons.items() if why != OWN_TURN},
        await _idle(context),
        usage,
        max(since.values(), default=0),
        {task.id: asked for task in tasks if (asked := asked_words(task))[1]},
    )


async def tasks_of(context: ReadContext, ids: Sequence[str]) -> list[Task]:
    """The tasks of these ids, from the daemon's plan where it has them."""
    follower = context.daemon.follower if context.daemon else None
    known = {id: follower.known(id) if follower else None for id in ids}
    missing = [id for id, task in known.items() if task is None]
    rows = await context.rows(context.views.tasks_named, missing) if missing else []
    return [task for task in (*known.values(), *rows) if task is not None]


async def _reasons(context: ReadContext, tasks: Sequence[Task], now: int) -> dict[str, str]:
    """By task that waits: why, in words."""
    waiting = [task for task in tasks if task.open and not any(slot.status == "running" for slot in task.slots)]
    if not waiting:
        return {}
    if context.daemon is not None:
        reasons = Reasons(context.daemon.follower.plan)
    else:
        reasons, now = await reasons_of(context, waiting)
    return {task.id: reasons.of(task, 0, now).text for task in waiting}


def _kind(why: str) -> str:
    return "slot" if why.startswith(ROOM) else "agent"


def _since(task: Task) -> int:
    ended = [run.ended_at for slot in task.slots for run in slot.runs if run.ended_at]
    return max(ended, default=task.dispatched_at)


async def _idle(context: ReadContext) -> str:
    """Why no node takes work, as a shutdown holds it up to the next start; "" where one does, or none has joined."""
    nodes: list[Node] = await context.rows(context.views.nodes)
    if not nodes or any(node.takes_work for node in nodes):
        return ""
    held = next((node for node in nodes if node.held), None)
    if held is not None:
        return f"node {held.id} is held: {held.hold or held.reason}"
    return f"node {nodes[0].id} is {'lost' if nodes[0].status == 'lost' else 'down'}"


def _usage(task: Task) -> dict[str, Any]:
    runs = [run for slot in task.slots for run in slot.runs]
    given, made = sum(run.input_tokens for run in runs), sum(run.output_tokens for run in runs)
    cost = sum(run.cost for run in runs)
    return {"tokens": given + made, "input_tokens": given, "output_tokens": made, "cost": cost}


async def _holder(context: ReadContext, header: RunHeader) -> str:
    """The run that has the group for which a run waits, "" for none."""
    rows: list[RunHeader] = await context.rows(context.views.workflow_runs, "open", ALL, False)
    return next((row.id for row in rows if row.group == header.group and row.status != "queued"), "")


async def _held(context: ReadContext, header: RunHeader) -> RunHeader | None:
    """The run above this one that is paused, None for none."""
    parent = header.parent
    while parent:
        above: RunHeader | None = await context.row(context.views.workflow_run, parent)
        if above is None:
            break
        if above.paused:
            return above
        parent = above.parent
    return None
