"""The handler of the look at everything, which monitors show: made from the daemon's plan, and one round of reads.

What of it cannot be read is missing, and says so: a monitor shows the rest also while the store is away.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.model.health import decide_checked, examines
from maestro.model.monitoring import hourly_usage
from maestro.model.monitoring.alert import Alert
from maestro.model.monitoring.totals import Totals
from maestro.model.scheduling.backlog import backlog
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import shown_agent
from maestro.model.scheduling.turns import Waiting, next_ones
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.monitoring.agents_seen import chosen, counted, last_run, read_lines, seen_row
from maestro.runtime.handlers.monitoring.runs_seen import runs_seen
from maestro.runtime.monitor.examination import examine_all, record
from maestro.runtime.monitor.presence import Present, mark, read_present
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.follower import Follower
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import DAY_MS, Row, node_row, when
from projections.view_reader import ALL

ROWS_MAX = 1000
ALERTS_MAX = 100
WORST_FIRST = {"critical": 0, "warning": 1}
OF_STORE = ("alerts", "alerts_open", "alerts_snoozed", "usage", "monitors")
"""What of a look the store alone knows."""


class Read(msgspec.Struct):
    """What a look has read of the store, in one thread. stale: why the views stand still, or "".

    samples: by key; alive: nodes that hold their lease; did: tasks of agents' last runs that the plan does not hold;
    queue: the open tasks that come first.
    """

    now: int
    stale: str
    samples: dict[str, dict[str, str] | None]
    alive: set[str]
    alerts: list[Alert]
    alerts_all: int
    snoozed: int
    headers: list[RunHeader]
    totals: Totals
    monitors: list[Present]
    did: dict[str, Task]
    queue: list[str]


async def look(call: Call, command: p.MonitorLook) -> p.Done:
    """Check this node's agents where that is asked for, and answer with the whole."""
    context = call.context
    assert context.daemon is not None
    follower = context.daemon.follower
    away = ""
    read: Read | None = None
    try:
        await mark(context, command.monitor, command.present_s, await context.now())
        if command.check:
            await _check(call, list(follower.plan.agents.values()))
        agents = _agents(follower, command)
        read = await context.call(_read, context, follower, agents, _tasks_read(follower.plan, command))
    except (StoreAway, StoreUnsafe) as error:
        away = error.line()
    now = read.now if read is not None else time.time_ns() // 1_000_000
    answer: Row = {
        "at": when(now),
        "namespace": context.settings.namespace,
        "node": context.node,
        "position": follower.seq,
        "store": _store(context, follower, read, away),
        "nodes": _nodes(follower, read),
        "agents": await _agent_rows(context, _agents(follower, command), read, command, now),
        "agents_by_state": counted(list(follower.plan.agents.values())),
        "queue": _queue(follower, read, command, now),
    }
    answer |= _of_store(read) if read is not None else dict.fromkeys(OF_STORE)
    answer |= await _runs(context, read)
    return p.Done(answer)


async def _check(call: Call, agents: list[Agent]) -> None:
    """Examine the agents that this node judges, and append what has changed; look for alerts, where it leads."""
    context = call.context
    assert context.daemon is not None
    nodes = context.daemon.follower.plan.nodes
    mine = [msgspec.structs.replace(agent) for agent in agents if examines(context.node, agent, nodes)]
    made, _ = await examine_all(context, mine)
    for agent in mine:
        if decide_checked(agent, made[agent.id]):
            try:
                await record(call, agent.id, made[agent.id])
            except (StoreAway, StoreUnsafe):
                raise
            except MaestroError:  # the agent is gone by now
                continue
    await context.daemon.look_for_alerts()


def _agents(follower: Follower, command: p.MonitorLook) -> list[Agent]:
    return chosen(list(follower.plan.agents.values()), command.state, _rows(command))


def _read(context: Context, follower: Follower, agents: Sequence[Agent], open_max: int) -> Read:
    """All that a look reads of the store. open_max: of how many open tasks at most. Blocks."""
    store, views = context.store, context.views
    nodes = list(follower.plan.nodes)
    keys = [f"agent:{agent.id}:last_heartbeat" for agent in agents] + [f"node:{node}:seen" for node in nodes]
    now = int(store.now())
    alerts = views.alerts("open")
    last = [agent.task or agent.last_task for agent in agents]
    ended = [task for task in dict.fromkeys(last) if task and follower.known(task) is None]
    return Read(
        now,
        alerts.checkpoint.stopped,
        dict(zip(keys, store.work.samples(keys), strict=True)),
        {node for node in nodes if store.work.lease_holder(f"node:{node}") is not None},
        sorted(alerts.rows, key=lambda alert: order(alert, now))[:ALERTS_MAX],
        alerts.total,
        sum(alert.snoozed_until > now for alert in alerts.rows),
        views.workflow_runs("open", ALL).rows,
        views.totals().row or Totals(),
        read_present(store.work, nodes, now),
        {task.id: task for task in views.tasks_named(ended).rows} if ended else {},
        [task.id for task in views.queue("open", limit=open_max).rows],
    )


def _store(context: Context, follower: Follower, read: Read | None, away: str) -> Row:
    """Whether the store answers; why not, or why what is shown is old."""
    since = context.gateway.away_since
    return {
        "up": read is not None,
        "why": away or follower.stopped or (read.stale if read is not None else "") or None,
        "away_s": round(time.monotonic() - since, 1) if since is not None else None,
    }


def _nodes(follower: Follower, read: Read | None) -> list[Row]:
    """The nodes, those that are up first. seen: what a node has seen of itself; None where that is not known."""
    plan = follower.plan
    running: dict[str, int] = {}
    for live in plan.crew.live.values():
        if live.started:
            running[live.node] = running.get(live.node, 0) + 1
    rows = []
    for node in plan.nodes.values():
        row = node_row(node, read is None or node.id in read.alive, running.get(node.id, 0))
        rows.append(row | {"seen": read.samples.get(f"node:{node.id}:seen") if read is not None else None})
    return sorted(rows, key=lambda row: (row["status"] != "up", row["id"]))[:ROWS_MAX]


async def _agent_rows(
    context: Context, agents: Sequence[Agent], read: Read | None, command: p.MonitorLook, now: int
) -> list[Row]:
    assert context.daemon is not None
    follower = context.daemon.follower
    rows: list[Row] = []
    folders: dict[str, str] = {}
    for agent in agents:
        name = agent.task or agent.last_task
        task = follower.known(name) or (read.did.get(name) if read is not None else None)
        last = last_run(agent, {name: task})
        sample = read.samples.get(f"agent:{agent.id}:last_heartbeat") if read is not None else None
        rows.append(seen_row(agent, sample, now, last))
        if last is not None and last[1].folder and last[1].node == context.node:
            folders[agent.id] = last[1].folder
    if folders and command.lines > 0:
        lines = await trio.to_thread.run_sync(read_lines, folders, command.lines)
        for row in rows:
            row["lines"] = lines.get(row["id"], [])
    return rows


def _queue(follower: Follower, read: Read | None, command: p.MonitorLook, now: int) -> Row:
    """What waits: all of it counted, and those named that come first, as far as the store or the plan tells quickly."""
    plan = follower.plan
    found = {kind: waiting for kind, waiting in backlog(plan).items() if waiting.depth}
    names = read.queue if read is not None else list(itertools.islice(plan.tasks, _tasks_read(plan, command)))
    first = next_ones(plan, names, now, _rows(command))
    return {
        "waiting": sum(waiting.depth for waiting in found.values()),
        "running": sum(live.started for live in plan.crew.live.values()),
        "counts": {kind: waiting.depth for kind, waiting in found.items()},
        "oldest": {kind: {"since": when(each.since), "age_s": _age(each.since, now)} for kind, each in found.items()},
        "first": [_waiting(each, now) for each in first],
    }


def _tasks_read(plan: Plan, command: p.MonitorLook) -> int:
    """Of how many open tasks those are looked for that come first: some run, and the index knows no agents'
    priorities.
    """
    return 2 * _rows(command) + len(plan.crew.live)


def _rows(command: p.MonitorLook) -> int:
    return max(1, min(command.rows, ROWS_MAX))


def _waiting(each: Waiting, now: int) -> Row:
    task = each.task
    return {
        "task": task.id,
        "title": task.title,
        "target": shown_agent(task.slots[each.slot].target),
        "kind": each.why.kind,
        "reason": each.why.text,
        "since": when(each.since),
        "age_s": _age(each.since, now),
        "workflow": task.workflow or None,
        "step": task.step or None,
    }


def _of_store(read: Read) -> dict[str, Any]:
    now = read.now
    return {
        "alerts": [alert_row(alert, now) for alert in read.alerts],
        "alerts_open": read.alerts_all - read.snoozed,
        "alerts_snoozed": read.snoozed,
        "usage": usage_row(read.totals, now),
        "monitors": [
            {"id": each.monitor, "node": each.node, "seen_at": when(each.seen_at), "until": when(each.until)}
            for each in read.monitors
        ],
    }


def usage_row(totals: Totals, now: int) -> Row:
    """What was used in all, today (UTC), and in the last sixty minutes. now: server ms."""
    tokens, cost = hourly_usage.used_since(totals.hours, now - now % DAY_MS)
    tokens_hour, cost_hour = hourly_usage.rate(totals.hours, now)
    return {
        "total": {"tokens": totals.input_tokens + totals.output_tokens, "cost": round(totals.cost, 9)},
        "today": {"tokens": tokens, "cost": round(cost, 9)},
        "hour": {"tokens": round(tokens_hour), "cost": round(cost_hour, 9)},
    }


def order(alert: Alert, now: int) -> tuple[bool, int, int, str]:
    """By which alerts are listed: snoozed ones last, the worst first, then those that are open for longest."""
    return alert.snoozed_until > now, WORST_FIRST.get(alert.severity, len(WORST_FIRST)), alert.since, alert.id


def alert_row(alert: Alert, now: int) -> Row:
    """The row of an alert. snoozed: nobody is told of it at `now`, server ms."""
    return {
        "id": alert.id,
        "name": alert.name,
        "subject": alert.subject or None,
        "severity": alert.severity,
        "what": alert.what,
        "why": alert.why or None,
        "since": when(alert.since),
        "command": alert.command or None,
        "node": alert.node or None,
        "momentary": alert.momentary,
        "times": alert.times,
        "raised_at": when(alert.raised_at),
        "snoozed": alert.snoozed_until > now,
        "snoozed_until": when(alert.snoozed_until),
        "resolved_at": when(alert.resolved_at),
        "how": alert.how or None,
        "reason": alert.reason or None,
    }


async def _runs(context: Context, read: Read | None) -> Row:
    """The open runs of workflows; None where they cannot be read. runs_open: how many there are, without children."""
    if read is None:
        return {"runs": None, "runs_open": None}
    try:
        rows = await runs_seen(context, read.headers)
    except StoreAway:
        return {"runs": None, "runs_open": None}
    return {"runs": rows, "runs_open": sum(not header.parent for header in read.headers)}


def _age(since: int, now: int) -> float:
    return round(max(0, now - since) / 1000, 1)


HANDLERS: dict[type[p.Command], Handler] = {p.MonitorLook: look}
