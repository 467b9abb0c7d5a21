"""The handler of `queue status`: what waits and for what, what runs, what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maestro.model.agent import Agent
from maestro.model.errors import Invalid
from maestro.model.scheduling.explanation import Explained, explained
from maestro.model.scheduling.sites import shown_agent
from maestro.model.target import who
from maestro.model.task import PRIORITY_DEFAULT, Slot, Task
from maestro.runtime.handlers.task_list import LIMIT_MAX, agent_of, find
from maestro.runtime.handlers.task_sets.reasons import reasons_of, wait_row
from maestro.runtime.node.read_context import ReadCall, ReadContext
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page
from maestro.runtime.server.id_prefixes import task_meant
from maestro.runtime.server.rows import Row, when
from projections.view_reader import QUEUE_PARTS

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler

SORTED_MIN = 2000
"""So many tasks are put in the exact order of their turn before they are cut; of more, the rest is in the index's."""


async def status(call: ReadCall, command: p.QueueStatus) -> p.Done:
    """Send a row for each target of each task, in the order in which they get their turn."""
    context = call.context
    if command.which not in QUEUE_PARTS:
        raise Invalid(f"no such part of the queue: {command.which!r}", mend=f"use one of {', '.join(QUEUE_PARTS)}")
    if not 1 <= command.limit <= LIMIT_MAX:
        raise Invalid(f"limit {command.limit} is out of range", mend=f"use 1 to {LIMIT_MAX}")
    cut: p.Cut | None = None
    if command.task is not None:
        tasks = [await find(context, await task_meant(context, command.task))]
    else:
        agent = await agent_of(context, command.agent)
        tasks, total = await _page(context, command.which, agent, command.limit)
        if total > command.limit:
            cut = cut_of_page(command.limit, "tasks", LIMIT_MAX, total)
    agents = {agent.id: agent for agent in await context.agents()}
    if cut is not None and command.which != "completed":
        tasks.sort(key=lambda task: min(_turn(task, i, agents) for i in range(len(task.slots))))
        tasks = tasks[: command.limit]
    is_open = [task for task in tasks if task.open]
    reasons, now = await reasons_of(context, tasks) if is_open else (None, 0)
    slots = [(task, i) for task in tasks for i, slot in enumerate(task.slots) if _wanted(command.which, slot)]
    if command.which != "completed":
        slots.sort(key=lambda each: _turn(each[0], each[1], agents))
    told = {
        task.id: {one.slot: one for one in explained(reasons, task, now)} for task in is_open if reasons is not None
    }
    for task, i in slots:
        found = told.get(task.id, {}).get(i)
        await call.item(_row(task, task.slots[i], _priority(task, task.slots[i], agents), found))
    return p.Done(cut=cut)


async def _page(context: ReadContext, which: str, agent: str | None, limit: int) -> tuple[list[Task], int]:
    """At least the tasks that come first, and how many there are.

    The index knows neither the agents' priorities nor who was first within a millisecond, and does not put what runs
    before what waits: so more are read than are shown, and the caller sorts them.
    """
    query = context.views.queue
    if which == "completed":
        page = await context.page(query, which, agent, limit)
        return page.rows, page.total
    page = await context.page(query, which, agent, max(limit, SORTED_MIN))
    tasks = {task.id: task for task in page.rows}
    if which == "open" and page.total > len(tasks):
        tasks |= {task.id: task for task in (await context.page(query, "processing", agent, limit)).rows}
    return list(tasks.values()), page.total


def _priority(task: Task, slot: Slot, agents: dict[str, Agent]) -> int:
    """The priority of a slot: its task's, else that of the agent that it is for."""
    agent = agents.get(slot.runs[-1].agent if slot.live else who(slot.target))
    return task.priority or (PRIORITY_DEFAULT if agent is None else agent.priority)


def _turn(task: Task, index: int, agents: dict[str, Agent]) -> tuple[bool, int, int, int]:
    """The sort key of a slot: running ones first, then waiting ones in the order in which they get their turn."""
    slot = task.slots[index]
    return slot.status == "waiting", task.order_key(_priority(task, slot, agents)), task.position, index


def _wanted(which: str, slot: Slot) -> bool:
    if which == "waiting":
        return slot.status == "waiting"
    if which == "processing":
        return slot.status in ("released", "running")
    return True


def _row(task: Task, slot: Slot, priority: int, found: Explained | None) -> Row:
    run = slot.runs[-1] if slot.runs else None
    return {
        "task": task.id,
        "status": task.status if not task.open else slot.status,
        "target": shown_agent(slot.target),
        "agent": shown_agent(run.agent) if run else None,
        "run": run.id if run else None,
        "priority": priority,
        **wait_row(found if found is not None and found.waits else None),
        "dispatched_at": when(task.dispatched_at),
        "title": task.title,
        "outcome": slot.outcome or task.outcome or None,
        "workflow": task.workflow or None,
        "step": task.step or None,
    }


HANDLERS: dict[type[p.Command], Handler] = {p.QueueStatus: status}
