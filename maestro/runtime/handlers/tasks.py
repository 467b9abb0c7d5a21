"""The handlers of `task status|list|wait|logs|cancel|retry`, for tasks that were dispatched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from maestro.model.dispatch import decide_cancel, decide_retry
from maestro.model.errors import Invalid, NotFound, TimedOut
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.outcome import exit_code_of
from maestro.model.scheduling.waiting import why_not_over
from maestro.model.task import Task
from maestro.runtime.handlers.run_output import follow_task, tail_runs
from maestro.runtime.handlers.wait_notice import NODE_AWAY, notice_of_wait
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.results import told_task
from replayers import positions

STATUSES = ("queued", "running", "completed", "failed", "cancelled", "timed_out", "skipped")
LIMIT_MAX = 100_000


async def find(context: Context, task: str) -> Task:
    """The row of one task. Raises NotFound."""
    row = await context.row(context.views.task, task)
    if row is None:
        raise NotFound(f"there is no task {shown(task)}", mend="task list shows all")
    return row


async def status(call: Call, command: p.TaskStatus) -> p.Done:
    """Answer with one task by id, or with the last one (of an agent)."""
    context = call.context
    if command.id is not None:
        return p.Done(await told_task(context, await find(context, command.id)))
    return p.Done(await told_task(call.context, await _last(context, command.agent)))


async def check_agent(context: Context, agent: str | None) -> None:
    """Check that an agent that a filter names exists; a pool (`role:x`) need not have one yet. Raises NotFound."""
    if agent is not None and ":" not in agent and await context.row(context.views.agent, agent) is None:
        raise NotFound(f"there is no agent {shown(agent)}", mend="agent list shows all")


async def _last(context: Context, agent: str | None) -> Task:
    """The newest task (of an agent). Raises NotFound."""
    await check_agent(context, agent)
    row = await context.row(context.views.last_task, agent)
    if row is None:
        of = f" of agent {agent}" if agent else ""
        raise NotFound(f"there is no task{of} yet", mend="task dispatch makes one")
    return row


async def list_tasks(call: Call, command: p.TaskList) -> p.Done:
    """List a page of tasks, newest first."""
    context = call.context
    if command.status is not None and command.status not in STATUSES:
        raise Invalid(f"status {shown(command.status)} is unknown", mend=f"use one of {', '.join(STATUSES)}")
    if not 1 <= command.limit <= LIMIT_MAX:
        raise Invalid(f"limit {command.limit} is out of range", mend=f"use 1 to {LIMIT_MAX}")
    if command.last:
        return p.Done(await told_task(call.context, await _last(context, command.agent)))
    await check_agent(context, command.agent)
    since = 0
    if command.since is not None:
        since = await context.call(positions.since, context.store, command.since)
    query = context.views.tasks
    for row in await context.rows(query, command.agent, command.status, since, limit=command.limit):
        await call.item(await told_task(call.context, row))
    return p.Done()


async def finished(context: Context, task: str, told: Callable[[Task], Awaitable[None]] | None = None) -> Task:
    """Wait until a task has finished; returns it. told: called with it now and after each change. Raises NotFound."""
    while True:
        known = context.daemon.follower.finished.get(task) if context.daemon else None
        if known is not None:
            return known
        open_here = context.daemon.follower.plan.tasks.get(task) if context.daemon else None
        if context.daemon and open_here is not None:
            if told:
                await told(open_here)
            await context.daemon.follower.news(task)
            continue
        found = await context.call(context.views.task, task)
        if found.row is None:
            raise NotFound(f"there is no task {shown(task)}", mend="task list shows all")
        if not found.row.open:
            return found.row
        if told:
            await told(found.row)
        await context.changed(found.checkpoint.seq)


def exit_code(task: Task) -> int:
    """The exit code of a command that waited for the task."""
    return exit_code_of(task.status, task.exit_code)


def _is_known(context: Context, task: str) -> bool:
    """Whether the daemon has the task at hand, so that no view need be asked."""
    return context.daemon is not None and context.daemon.follower.known(task) is not None


async def wait(call: Call, command: p.TaskWait) -> p.Done:
    """Wait for all tasks; the exit code is that of the first one that did not complete."""
    rows: dict[str, Task] = {}
    call.again = command

    async def one(task: str) -> None:
        rows[task] = await finished(call.context, task)

    for task in command.ids:
        if not _is_known(call.context, task):
            await find(call.context, task)
    with trio.move_on_after(float("inf") if command.timeout_s is None else command.timeout_s) as scope:
        async with trio.open_nursery() as nursery:
            for task in dict.fromkeys(command.ids):
                nursery.start_soon(one, task)
    if scope.cancelled_caught:
        left = ", ".join(task for task in command.ids if task not in rows)
        raise TimedOut(f"not finished after {command.timeout_s:g} s: {left}", mend="they go on; wait again")
    if command.one:
        first = rows[command.ids[0]]
        return p.Done(await told_task(call.context, first), exit_code(first))
    for task in command.ids:
        await call.item(await told_task(call.context, rows[task]))
    return p.Done(exit_code=next((exit_code(rows[task]) for task in command.ids if exit_code(rows[task])), 0))


async def logs(call: Call, command: p.TaskLogs) -> p.Done:
    """Send the output of a task's last attempts, of one agent or of all in the order of the targets."""
    task = await find(call.context, command.id)
    runs = [slot.runs[-1] for slot in task.slots if slot.runs]
    if command.agent is not None:
        runs = [run for run in runs if run.agent == command.agent]
        if not runs and not (command.follow and task.open):
            raise NotFound(f"agent {shown(command.agent)} has no run of task {task.id}")
    if command.follow:
        await follow_task(call, task.id, command.agent)
    else:
        await tail_runs(call, [run.id for run in runs], False)
    return p.Done()


async def cancel(call: Call, command: p.TaskCancel) -> p.Done:
    """Cancel a task, and wait until it has ended. Raises TimedOut."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, command.id)
        return decide_cancel(command.id, row, command.reason, await context.floor())

    await context.decide(call, decision)
    with trio.move_on_after(CANCEL_WAIT_S):
        async with notice_of_wait(call, lambda: _why_on(context, command.id)):
            return p.Done(await told_task(context, await finished(context, command.id)))
    why = await _why_on(context, command.id)
    what = f"the cancel of task {command.id} is recorded, but it has not ended after {CANCEL_WAIT_S:.0f} s: {why}"
    raise TimedOut(what, mend=f"{NODE_AWAY}; task wait {command.id} waits for it")


async def _why_on(context: Context, task: str) -> str:
    """What keeps a cancelled task from having ended, in words."""
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    leased = {name for name in nodes if await context.call(context.store.work.lease_holder, f"node:{name}")}
    return why_not_over(await find(context, task), nodes, leased) or "its scheduler"


CANCEL_WAIT_S = 30.0


async def retry(call: Call, command: p.TaskRetry) -> p.Done:
    """Queue a finished task again, to begin anew or to go on with its agents' sessions."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, command.id)
        agents = {agent.id: agent for agent in await context.rows(context.views.agents)} if command.resume else None
        return decide_retry(command.id, row, await context.floor(), agents)

    await context.decide(call, decision)
    return p.Done(await told_task(context, await find(context, command.id)))


HANDLERS: dict[type[p.Command], Handler] = {
    p.TaskStatus: status,
    p.TaskList: list_tasks,
    p.TaskWait: wait,
    p.TaskLogs: logs,
    p.TaskCancel: cancel,
    p.TaskRetry: retry,
}
