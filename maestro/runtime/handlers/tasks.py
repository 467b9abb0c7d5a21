"""The handlers of `task wait|logs|cancel|retry`, for tasks that were dispatched."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.dispatch import decide_cancel, decide_retry
from maestro.model.errors import NotFound, Refused, TimedOut
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.outcome import exit_code_of
from maestro.model.scheduling.explanation import why_not_over
from maestro.model.task import Task
from maestro.runtime.handlers.run_output import follow_task, tail_runs
from maestro.runtime.handlers.task_list import find
from maestro.runtime.handlers.task_sets.dependants import Skipped
from maestro.runtime.handlers.task_sets.reasons import told
from maestro.runtime.handlers.wait_notice import NODE_AWAY, notice_of_wait, progress_of
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.id_prefixes import agent_meant, check_whole_task, task_meant
from maestro.runtime.worker.run_observer import LATEST


async def finished(context: Context, task: str) -> Task:
    """Wait until a task has finished; returns it. Raises NotFound."""
    while True:
        known = context.daemon.follower.finished.get(task) if context.daemon else None
        if known is not None:
            return known
        open_here = context.daemon.follower.plan.tasks.get(task) if context.daemon else None
        if context.daemon and open_here is not None:
            await context.daemon.follower.news(task)
            continue
        found = await context.call(context.views.task, task)
        if found.row is None:
            raise NotFound(f"there is no task {shown(task)}", mend="maestro task list shows all", sought=("task", task))
        if not found.row.open:
            return found.row
        await context.changed(found.checkpoint.seq)


def exit_code(task: Task) -> int:
    """The exit code of a command that waited for the task."""
    return exit_code_of(task.status, task.exit_code)


async def wait(call: Call, command: p.TaskWait) -> p.Done:
    """Wait for all tasks; the exit code is that of the first one that did not complete."""
    rows: dict[str, Task] = {}
    call.again = command  # before anything is asked: the daemon may start anew right now
    ids = [await task_meant(call.context, name) for name in command.ids]
    command = msgspec.structs.replace(command, ids=list(dict.fromkeys(ids)))
    call.again = command

    async def interrupted() -> str:
        left = [task for task in dict.fromkeys(command.ids) if task not in rows]
        named = f"task {left[0]} goes" if len(left) == 1 else f"{len(left)} tasks go"
        return f"interrupted; {named} on: maestro task wait {' '.join(left)}"

    call.when_interrupted(interrupted)

    async def one(task: str) -> None:
        rows[task] = await finished(call.context, task)

    for task in dict.fromkeys(command.ids):  # whatever the timeout is, a task that has finished is
        row = call.context.daemon.follower.known(task) if call.context.daemon else None
        row = row or await find(call.context, task)
        if not row.open:
            rows[task] = row
    with trio.move_on_after(float("inf") if command.timeout_s is None else command.timeout_s) as scope:
        async with progress_of(call, command.ids), trio.open_nursery() as nursery:
            for task in dict.fromkeys(command.ids):
                if task not in rows:
                    nursery.start_soon(one, task)
    if scope.cancelled_caught:
        left = ", ".join(task for task in command.ids if task not in rows)
        raise TimedOut(f"not finished after {command.timeout_s:g} s: {left}", mend="they go on; wait again")
    code = next((exit_code(rows[task]) for task in command.ids if exit_code(rows[task])), 0)
    if command.one:
        return p.Done(await told(call.context, rows[command.ids[0]]), code)
    for task in command.ids:
        await call.item(await told(call.context, rows[task]))
    return p.Done(exit_code=code)


async def logs(call: Call, command: p.TaskLogs) -> p.Done:
    """Send the output of a task's last attempts, of one agent or of all in the order of the targets."""
    task = await find(call.context, await task_meant(call.context, command.id))
    agent = None if command.agent is None else await agent_meant(call.context, command.agent)
    runs = [slot.runs[-1] for slot in task.slots if slot.runs]
    if agent is not None:
        runs = [run for run in runs if run.agent == agent]
        if not runs and not (command.follow and task.open):
            raise NotFound(f"agent {shown(agent)} has no run of task {task.id}")
    if command.follow:
        await follow_task(call, task.id, agent)
    else:
        await tail_runs(call, [run.id for run in runs], False)
    return p.Done()


async def cancel(call: Call, command: p.TaskCancel) -> p.Done:
    """Cancel a task, and wait until it has ended. Raises TimedOut."""
    context = call.context
    await check_whole_task(context, command.id, "task cancel")

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, command.id)
        return decide_cancel(command.id, row, command.reason, await context.floor())

    await context.decide(call, decision)
    with trio.move_on_after(CANCEL_WAIT_S):
        async with notice_of_wait(call, lambda: _why_on(context, command.id)):
            return p.Done(await told(context, await finished(context, command.id)))
    why = await _why_on(context, command.id)
    what = f"the cancel of task {command.id} is recorded, but it has not ended after {CANCEL_WAIT_S:.0f} s: {why}"
    raise TimedOut(what, mend=f"{NODE_AWAY}; maestro task wait {command.id} waits for it")


async def _why_on(context: Context, task: str) -> str:
    """What keeps a cancelled task from having ended, in words."""
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    leased = {name for name in nodes if await context.call(context.store.work.lease_holder, f"node:{name}")}
    return why_not_over(await find(context, task), nodes, leased) or "its scheduler"


CANCEL_WAIT_S = 30.0
NAMED_MAX = 5


async def retry(call: Call, command: p.TaskRetry) -> p.Done:
    """Queue a finished task again, to begin anew or to go on with its agents' sessions; tell what was skipped for it,
    or queue that too. With `sync` wait for the end of all.
    """
    context = call.context
    await check_whole_task(context, command.id, "task retry")
    skipped = Skipped(context, command.id)
    known = await context.call(context.views.task, command.id)
    if known.sealed:
        what = f"task {command.id} has ended so long ago that nothing can be done to it any more"
        raise Refused(what, mend="maestro task dispatch makes one")
    row = known.row
    goes_on = command.with_dependants and row is not None and (row.open or row.status == "completed")
    goes_on = goes_on and bool(await skipped.some())

    others: list[str] = []
    budget = command.budget_tokens, command.budget_cost

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, command.id)
        agents = {agent.id: agent for agent in await context.agents()} if command.resume else None
        others[:] = _other_sessions(row, agents or {})
        needs = row.depends_on if row is not None else []
        needed = {one.id: one.status for one in await context.rows(context.views.tasks_named, needs)} if needs else {}
        return decide_retry(command.id, row, await context.floor(), agents, needed, budget)

    if goes_on and budget != (None, None):
        what = f"task {command.id} itself is not retried, and keeps its budget"
        raise Refused(what, mend="leave out the budget")
    if not goes_on:
        await context.decide(call, decision)
    for other in others:
        await call.note(other, "warn")
    also: list[str] = []
    if command.with_dependants:
        also = await skipped.retry(call)
    elif some := await skipped.some():
        named = ", ".join(some[:NAMED_MAX]) + (" and more" if len(some) > NAMED_MAX else "")
        again = f"maestro task retry {command.id} --with-dependants"
        await call.note(f"what depends on it was skipped, and stays so: {named}; to retry that too: {again}")
    if command.sync:
        call.when_interrupted(lambda: _goes_on(command.id))
        done = await wait(call, p.TaskWait(ids=[command.id, *also], one=True))
        return msgspec.structs.replace(done, data=done.data | {"dependants": also})
    return p.Done(await told(context, await find(context, command.id)) | {"dependants": also})


def _other_sessions(task: Task | None, agents: Mapping[str, Agent]) -> list[str]:
    """Which agents would go on with a session that is not the task's, in words: they know their latest one only."""
    found = {}
    for slot in () if task is None else task.slots:
        before = next((run for run in reversed(slot.runs) if run.session), None)
        agent = agents.get(before.agent) if before is not None and before.session == LATEST else None
        if agent is not None and task is not None and agent.last_task not in ("", task.id):
            found[agent.id] = agent.last_task
    return [f"agent {name} goes on with its latest session, which is that of task {of}" for name, of in found.items()]


async def _goes_on(task: str) -> str:
    return f"interrupted; task {task} goes on: maestro task wait {task}, or maestro task cancel {task}"


HANDLERS: dict[type[p.Command], Handler] = {
    p.TaskWait: wait,
    p.TaskLogs: logs,
    p.TaskCancel: cancel,
    p.TaskRetry: retry,
}
