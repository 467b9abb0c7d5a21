"""The handler that gives the values of all metrics (`maestro/metrics.py`).

What counts since the log began is one row of the view `totals`; what is now comes from the plan in memory. So a scrape
costs the same whatever there is in the log, and nearly so whatever waits. While the store is away, or does not answer
in time, nothing of the namespace is told: what this node knows of it may be stale.
"""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.errors import MaestroError
from maestro.model.monitoring.alert_rules import NAMES
from maestro.model.monitoring.histogram import Histogram
from maestro.model.monitoring.totals import Totals
from maestro.model.scheduling.backlog import backlog
from maestro.model.scheduling.crew import Crew
from maestro.model.scheduling.plan import Plan
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.protocol import messages as p

READ_S_MAX = 2.0
"""How long the store may take to answer: a scrape waits 10 s by default, and asks for more than this."""

Figures = dict[str, list[tuple[list[str], Any]]]


class _Read(msgspec.Struct):
    """What was read of the store. now: server ms; lag: events behind the views' checkpoint before that was moved;
    heard: server ms, by node.
    """

    now: int
    events: int
    lag: int
    bytes: int
    totals: Totals
    alerts: dict[str, int]
    approvals: int
    heard: dict[str, int]


async def figures(call: Call, command: p.MonitorFigures) -> p.Done:
    """Tell the values of all metrics that can be told now."""
    context = call.context
    assert context.daemon is not None
    plan = context.daemon.follower.plan
    nodes = [node.id for node in plan.nodes.values() if node.status != "left"]
    read = (await context.together({"": lambda: _read(context, nodes)}, READ_S_MAX)).get("")
    found: Figures = {
        "maestro_store_up": [([], int(read is not None))],
        "maestro_append_seconds": _histogram(context.gateway.appends),
    }
    if read is not None:
        found |= _of_store(read)
        if not context.daemon.follower.stopped:  # else it is of before an event that this build does not know
            plan = context.daemon.follower.plan
            plan.wake(read.now)
            found |= _of_queue(plan, read.now) | _of_crew(plan, read)
    return p.Done(found)


def _read(context: Context, nodes: list[str]) -> _Read | None:
    """All that is asked of the store, a row or a number each; None where it is away."""
    store, views = context.store, context.views
    try:
        generation = store.views.current()
        held = 0 if generation is None else store.views.checkpoint(generation).seq
        end = store.log.end().seq
        samples = store.work.samples([f"node:{node}:seen" for node in nodes]) if nodes else []
        heard = zip(nodes, samples, strict=True)
        return _Read(
            store.now(),
            end,
            max(0, end - held),
            store.memory_bytes(),
            views.totals().row or Totals(),
            views.alerts_open(NAMES).row or {},
            sum(len(run.asking) for run in views.runs_asking().rows),
            {node: int(sample.get("at", 0)) for node, sample in heard if sample is not None},
        )
    except MaestroError as error:
        seldom.warn("metrics", error.line())
        return None


def _of_store(read: _Read) -> Figures:
    row = read.totals
    tokens = {"input": row.input_tokens, "output": row.output_tokens, "cached": row.cached_tokens}
    return {
        "maestro_tasks_total": _labelled(row.tasks),
        "maestro_queue_wait_seconds": _histogram(row.queue_wait),
        "maestro_run_seconds": _histogram(row.runs),
        "maestro_snapshot_seconds": _histogram(row.snapshot_ms),
        "maestro_snapshot_bytes": _histogram(row.snapshot_bytes),
        "maestro_snapshot_last_success_timestamp_seconds": _plain(row.snapshot_at / 1000),
        "maestro_restores_total": _labelled(row.restores),
        "maestro_schedule_missed_total": _plain(row.schedule_missed),
        "maestro_webhook_deliveries_total": _labelled(row.deliveries),
        "maestro_usage_tokens_total": _labelled(tokens),
        "maestro_usage_cost_total": _plain(row.cost),
        "maestro_alerts": _labelled(read.alerts),
        "maestro_approvals_waiting": _plain(read.approvals),
        "maestro_projector_lag_events": _plain(read.lag),
        "maestro_log_events": _plain(read.events),
        "maestro_store_bytes": _plain(read.bytes),
    }


def _of_queue(plan: Plan, now: int) -> Figures:
    waiting = backlog(plan)
    oldest = {reason: _age(of.since, now) for reason, of in waiting.items()}
    return {
        "maestro_queue_depth": _labelled({reason: of.depth for reason, of in waiting.items()}),
        "maestro_queue_oldest_seconds": _labelled(oldest),
        "maestro_run_oldest_seconds": _plain(_age(_oldest_start(plan), now)),
    }


def _oldest_start(plan: Plan) -> int:
    """When the run that is on longest has started, server ms; 0 for none."""
    live = [run for run in plan.crew.live.values() if run.started]
    starts = [plan.tasks[run.task].slots[run.slot].runs[-1].started_at for run in live]
    return min(starts, default=0)


def _of_crew(plan: Plan, read: _Read) -> Figures:
    heard = {
        node.id: read.heard.get(node.id, node.changed_at) / 1000
        for node in plan.nodes.values()
        if node.status != "left"
    }
    return {
        "maestro_slots": _labelled(_slots(plan.crew)),
        "maestro_agents": _labelled(_agents(plan.crew)),
        "maestro_node_heartbeat_timestamp_seconds": _labelled(heard),
    }


def _slots(crew: Crew) -> dict[str, int]:
    up = [node for node in crew.nodes.values() if node.status == "up"]
    held = sum(node.max_concurrent for node in up if node.held)
    free = crew.free_slots()[""]
    return {"busy": sum(node.max_concurrent for node in up) - held - free, "free": free, "held": held}


def _agents(crew: Crew) -> dict[str, int]:
    found = {"healthy": 0, "unhealthy": 0, "stopped": 0}
    for agent in crew.agents.values():
        found["stopped" if agent.stopped else "healthy" if agent.healthy else "unhealthy"] += 1
    return found


def _age(since: int, now: int) -> float:
    """For how many seconds something has been so, 0 for what is not."""
    return max(0, now - since) / 1000 if since else 0.0


def _plain(value: float) -> list[tuple[list[str], Any]]:
    return [([], value)]


def _labelled(values: dict[str, Any]) -> list[tuple[list[str], Any]]:
    return [([label], value) for label, value in values.items()]


def _histogram(observed: Histogram) -> list[tuple[list[str], Any]]:
    return [([], [observed.counts, observed.sum])]


HANDLERS: dict[type[p.Command], Handler] = {p.MonitorFigures: figures}
