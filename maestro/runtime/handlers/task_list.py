"""The handlers of `task status|list`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maestro.model.errors import Invalid, NotFound
from maestro.model.ids import shown
from maestro.model.task import Task
from maestro.runtime.handlers.task_sets.reasons import told, told_tasks
from maestro.runtime.node.read_context import ReadCall, ReadContext
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page
from maestro.runtime.server.id_prefixes import agent_meant, task_meant
from maestro.runtime.server.past_rows import PastRows
from projections.tasks import agents
from replayers import positions

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler

STATUSES = ("queued", "running", "completed", "failed", "cancelled", "timed_out", "skipped")
LIMIT_MAX = 100_000


async def find(context: ReadContext, task: str) -> Task:
    """The row of one task. Raises NotFound."""
    row = await context.row(context.views.task, task)
    if row is None:
        raise NotFound(f"there is no task {shown(task)}", mend="maestro task list shows all", sought=("task", task))
    return row


async def status(call: ReadCall, command: p.TaskStatus) -> p.Done:
    """Answer with one task by id, or with the last one (of an agent)."""
    context = call.context
    if command.id is not None:
        name = await task_meant(context, command.id)
        found = await context.call(context.views.task, name)
        return p.Done(await told(context, found.row or await find(context, name), bool(found.sealed)))
    return p.Done(await told(call.context, await _last(context, command.agent)))


async def agent_of(context: ReadContext, agent: str | None) -> str | None:
    """The agent that a filter names, by its id or the beginning of that; a pool (`role:x`) need not have one yet.

    Raises NotFound, Invalid.
    """
    if agent is None or ":" in agent:
        return agent
    agent = await agent_meant(context, agent)
    if await context.row(context.views.agent, agent) is None:
        raise NotFound(
            f"there is no agent {shown(agent)}", mend="maestro agent list shows all", sought=("agent", agent)
        )
    return agent


async def _last(context: ReadContext, agent: str | None) -> Task:
    """The newest task (of an agent). Raises NotFound."""
    agent = await agent_of(context, agent)
    row = await context.row(context.views.last_task, agent)
    if row is None:
        of = f" of agent {agent}" if agent else ""
        raise NotFound(f"there is no task{of} yet", mend="maestro task dispatch makes one")
    return row


async def list_tasks(call: ReadCall, command: p.TaskList) -> p.Done:
    """List a page of tasks, newest first."""
    context = call.context
    if command.status is not None and command.status not in STATUSES:
        raise Invalid(f"status {shown(command.status)} is unknown", mend=f"use one of {', '.join(STATUSES)}")
    if not 1 <= command.limit <= LIMIT_MAX:
        raise Invalid(f"limit {command.limit} is out of range", mend=f"use 1 to {LIMIT_MAX}")
    if command.last:
        return p.Done(await told(call.context, await _last(context, command.agent)))
    agent = await agent_of(context, command.agent)
    since = 0
    if command.since is not None:
        since = await context.call(positions.since, context.store, command.since)
    query = context.views.tasks
    found = await context.page(query, agent, command.status, since, limit=command.limit + 1)
    rows, total = found.rows, found.total
    if command.all:
        of_steps = context.views.step_tasks
        steps = await context.page(of_steps, agent, command.status, since, limit=command.limit + 1)
        rows = sorted([*rows, *steps.rows], key=lambda row: -row.position)
        total += steps.total
    past: list[Task] = []
    if command.all_time:
        past = await _past(context, (agent, command.status, since, command.all), command.limit + 1, rows)
        rows = sorted([*rows, *past], key=lambda row: -row.position)
    for row in await told_tasks(context, rows[: command.limit], {row.id for row in past}):
        await call.item(row)
    total_here = None if since or command.all_time else total  # the index counts those before `since`, too
    is_cut = len(rows) > command.limit
    return p.Done(cut=cut_of_page(command.limit, "tasks", LIMIT_MAX, total_here) if is_cut else None)


async def _past(
    context: ReadContext, wanted: tuple[str | None, str | None, int, bool], count: int, known: Sequence[Task]
) -> list[Task]:
    """The newest tasks that are told from sealed history, `count` at most. Cost: O(what is looked at).

    wanted: agent, status, since which position, and whether steps of workflows too; known: those that are rows.
    """
    agent, status, since, steps = wanted

    def fits(row: Task) -> bool:
        of = (agent is None or agent in agents(row)) and (status is None or row.status == status)
        return of and row.position >= since and (steps or not row.workflow)

    page = functools.partial(context.views.past_tasks, agent=agent, status=status)
    past = PastRows(context, page, context.views.tasks_named)
    return await past.newest(fits, count, {row.id for row in known}, since)


HANDLERS: dict[type[p.Command], Handler] = {p.TaskStatus: status, p.TaskList: list_tasks}
