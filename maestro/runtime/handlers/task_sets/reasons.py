"""Why tasks do not go on, as of now: from the daemon's plan where it has all of the log, else from the views' rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from maestro.model.restore import STOP_REASON
from maestro.model.scheduling.explanation import Explained, ended, explained, skipped_for
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.waiting import Around, Reasons
from maestro.model.target import who
from maestro.model.task import Task
from maestro.runtime.node.plan_loader import hold, supply
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.node.run_reader import paused_at
from maestro.runtime.restores.across.pending import waiting_agents
from maestro.runtime.server.results import told_task
from maestro.runtime.server.rows import Row, when
from projections.view_reader import ALL

LOOKED_UP_MAX = 100
"""Of so many agents it is looked up since when they take nothing."""


async def reasons_of(context: ReadContext, tasks: Sequence[Task]) -> tuple[Reasons, int]:
    """The reasons of open tasks, and the server's time (ms) for which they hold."""
    now = await context.now()
    plan = await _current(context) or await _plan(context, tasks, now)
    short, silent = await _nodes(context, tasks)
    since = await _since(context, tasks, plan) | await paused_since(context, _paused(plan, tasks))
    for node in short:
        alert = await context.row(context.views.alert, f"disk:{node}")
        if alert is not None and not alert.resolved_at:
            since[f"node:{node}"] = alert.raised_at
    return Reasons(plan, Around(await _pending(context, plan), short, silent, since)), now


def _paused(plan: Plan, tasks: Sequence[Task]) -> list[str]:
    """The paused runs that keep some of these tasks."""
    found = (plan.pauses.paused(task.workflow) for task in tasks if task.workflow)
    return list(dict.fromkeys(run for run in found if run))[:LOOKED_UP_MAX]


async def paused_since(context: ReadContext, runs: Sequence[str]) -> dict[str, int]:
    """Since when paused runs are so, by `run:<id>`; without those of which the log does not say it."""

    def look() -> dict[str, int]:
        log = context.store.log
        return {f"run:{row.id}": at for row in rows if row.paused and (at := paused_at(log, row))}

    rows = await context.rows(context.views.workflow_runs_named, runs) if runs else []
    return await context.call(look) if rows else {}


async def _current(context: ReadContext) -> Plan | None:
    """The daemon's plan, None where there is none that has all of the log by now."""
    if context.daemon is None:
        return None
    head = await context.call(context.store.log.head)
    plan = context.daemon.follower.plan
    return plan if plan.seq >= head.seq and not plan.missing and not plan.behind else None


async def _plan(context: ReadContext, tasks: Sequence[Task], now: int) -> Plan:
    """A plan of these tasks and what they depend on, with all agents and nodes: enough to say why each waits."""
    agents = await context.agents()
    nodes = await context.rows(context.views.nodes)
    still = await context.rows(context.views.snapshots, "open")
    plan = Plan.load([task for task in tasks if task.open], agents, nodes, snapshots=still)
    await context.call(supply, plan, context.views)
    hold(plan, await context.rows(context.views.workflow_runs, "open", ALL, False))
    plan.wake(now)
    return plan


async def _pending(context: ReadContext, plan: Plan) -> dict[str, str]:
    """The agents whose workspaces a restore has yet to exchange, with why."""
    stopped = any(agent.stopped and agent.reason.startswith(STOP_REASON) for agent in plan.agents.values())
    return dict(await waiting_agents(context)) if stopped else {}


async def _since(context: ReadContext, tasks: Sequence[Task], plan: Plan) -> dict[str, int]:
    """Since when agents that tasks are for, and that are stopped or unhealthy, are so: the time of their last event."""
    names = {who(slot.target) for task in tasks for slot in task.slots}
    names |= {run.agent for task in tasks for slot in task.slots if (run := slot.live) is not None}
    named = [plan.agents[name] for name in sorted(names) if name in plan.agents]
    unable = [agent for agent in named if agent.stopped or not agent.healthy][:LOOKED_UP_MAX]

    def look() -> dict[str, int]:
        found = ((agent.id, context.store.log.event(agent.version)) for agent in unable)
        return {name: event.at for name, event in found if event is not None}

    return await context.call(look) if unable else {}


async def _nodes(context: ReadContext, tasks: Sequence[Task]) -> tuple[dict[str, str], list[str]]:
    """Of the nodes that have a run of these tasks: those that say that a disk of theirs is short of room, and why; and
    those that are silent.
    """
    live = [run for task in tasks for slot in task.slots if (run := slot.live) is not None and run.node]
    starting = sorted({str(run.node) for run in live if run.status == "released"})
    seen = [f"node:{node}:seen" for node in starting]
    samples = await context.call(context.store.work.samples, seen) if seen else []
    short = {
        node: sample["disk_low"]
        for node, sample in zip(starting, samples, strict=True)
        if sample is not None and sample.get("disk_low")
    }
    others = sorted({str(run.node) for run in live} - {context.node if context.daemon is not None else ""})
    lease = context.store.work.lease_holder
    return short, [node for node in others if await context.call(lease, f"node:{node}") is None]


async def told_tasks(context: ReadContext, tasks: Sequence[Task], sealed: Collection[str] = ()) -> list[Row]:
    """Tasks as clients get them, each with what it waits for, if anything, since when, and what would let it go on.

    sealed: those of sealed history, which nothing tries again.
    """
    is_open = [task for task in tasks if task.open]
    reasons, now = await reasons_of(context, is_open) if is_open else (None, 0)
    waits = {task.id: explained(reasons, task, now) for task in is_open} if reasons is not None else {}
    gone = await gone_of(context, tasks)
    first = {task.id: None if task.id in sealed else _first(task, waits, gone) for task in tasks}
    return [await told_task(context, task) | wait_row(first[task.id]) for task in tasks]


async def told(context: ReadContext, task: Task, sealed: bool = False) -> Row:
    """One task, as `told_tasks`."""
    return (await told_tasks(context, [task], [task.id] if sealed else ()))[0]


async def told_at_once(context: ReadContext, task: Task) -> Row:
    """One task that was just dispatched, as `told`, from what the daemon knows by now: nothing is read for it."""
    plan = context.daemon.follower.plan if context.daemon is not None else None
    if plan is None or not task.open or (task.depends_on and task.id not in plan.tasks):
        return await told_task(context, task) | wait_row(_first(task, {}))
    waits = {task.id: explained(Reasons(plan), task, plan.clock)}
    return await told_task(context, task) | wait_row(_first(task, waits))


async def gone_of(context: ReadContext, tasks: Sequence[Task]) -> set[str]:
    """The tasks for which some of these were skipped, and which the views have no more: nothing retries them."""
    names = sorted({name for task in tasks if (name := skipped_for(task))})
    return {*names} - {task.id for task in await context.rows(context.views.tasks_named, names)} if names else set()


def _first(task: Task, waits: dict[str, list[Explained]], gone: Collection[str] = ()) -> Explained | None:
    """What is told of a task as a whole: of the first of its targets that waits; or how it ended."""
    found = waits.get(task.id, []) if task.open else [ended(task, gone)]
    return next((one for one in found if one.waits or not task.open), None)


def wait_row(one: Explained | None) -> Row:
    """What something waits for, since when, and what would let it go on."""
    if one is None:
        return {"waiting_for": None, "waiting_since": None, "to_go_on": None}
    since = when(one.since) if one.waits else None
    return {"waiting_for": one.text if one.waits else None, "waiting_since": since, "to_go_on": one.way or None}
