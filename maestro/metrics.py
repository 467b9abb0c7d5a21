"""The metrics of a namespace: each is declared here once, with its name, its labels, and what these can be.

`runtime/handlers/monitoring/figures.py` gives the values, `monitor/exporter.py` serves them. Labels are bounded: what a
label cannot be by its declaration is served as `other`; the only ids are those of nodes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from maestro.model.monitoring import totals
from maestro.model.monitoring.alert_rules import NAMES
from maestro.model.monitoring.histogram import APPEND_US
from maestro.model.outcome import SEVERITY
from maestro.model.scheduling.backlog import REASONS

OTHER = "other"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric. kind: `counter`, `gauge` or `histogram`. label: its one label, "" for none; values: what that can be,
    () where only the namespace says it.

    bounds: of a histogram, in the unit that is counted; scale: how many of these are one of the unit in its name.
    here: it is of the exporter's node, not of the namespace. away: it is served also while the store is away.
    """

    kind: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    scale: int = 1
    here: bool = False
    away: bool = False


def _counter(help_: str, label: str = "", values: tuple[str, ...] = ()) -> Metric:
    return Metric(kind="counter", help=help_, label=label, values=values)


def _gauge(help_: str, label: str = "", values: tuple[str, ...] = ()) -> Metric:
    return Metric(kind="gauge", help=help_, label=label, values=values)


def _histogram(help_: str, bounds: tuple[int, ...], scale: int = 1) -> Metric:
    return Metric(kind="histogram", help=help_, bounds=bounds, scale=scale)


def _here(metric: Metric) -> Metric:
    return msgspec.structs.replace(metric, here=True, away=True)


METRICS: Final[dict[str, Metric]] = {
    "maestro_daemon_up": _here(_gauge("1 while the daemon of this node answers, else 0.")),
    "maestro_store_up": _here(_gauge("1 while that daemon reaches the store, else 0.")),
    "maestro_append_seconds": _here(
        _histogram("How long appends of that daemon took, from the request to the log's answer.", APPEND_US, 1_000_000)
    ),
    "maestro_tasks_total": _counter("Tasks that ended, by the worst outcome of their runs.", "outcome", SEVERITY),
    "maestro_queue_depth": _gauge(
        "Targets of open tasks that do not run, by what the first of their obstacles is.", "reason", REASONS
    ),
    "maestro_queue_oldest_seconds": _gauge("How long the oldest of these has waited.", "reason", REASONS),
    "maestro_queue_wait_seconds": _histogram(
        "From being ready to the start, of runs; without dependencies, retry delays and pauses.",
        totals.QUEUE_WAIT_MS,
        1000,
    ),
    "maestro_run_seconds": _histogram("How long runs took, from the spawn to the end.", totals.RUN_MS, 1000),
    "maestro_run_oldest_seconds": _gauge("How long the longest run that is on has been on, 0 for none."),
    "maestro_slots": _gauge(
        "Places for runs on nodes that are up: taken, free, or held by a shutdown.", "state", ("busy", "free", "held")
    ),
    "maestro_agents": _gauge("Agents by health.", "health", ("healthy", "unhealthy", "stopped")),
    "maestro_node_heartbeat_timestamp_seconds": _gauge("When a node that has not left was last heard of.", "node"),
    "maestro_projector_lag_events": _gauge("Events of the log that the views did not hold yet."),
    "maestro_log_events": _gauge("Events in the log, sealed ones too: its last position."),
    "maestro_store_bytes": _gauge("Memory that the store's server uses."),
    "maestro_snapshot_last_success_timestamp_seconds": _gauge(
        "When the last complete snapshot was taken that was asked for or scheduled, 0 for never."
    ),
    "maestro_snapshot_seconds": _histogram(
        "How long complete snapshots took, from the cut to the end.", totals.SNAPSHOT_MS, 1000
    ),
    "maestro_snapshot_bytes": _histogram("Bytes of all files of complete snapshots.", totals.SNAPSHOT_BYTES),
    "maestro_restores_total": _counter("Restores by result.", "result", ("done", "failed")),
    "maestro_approvals_waiting": _gauge("Approvals of workflows that wait for a person."),
    "maestro_schedule_missed_total": _counter("Due times of schedules that nobody was there for."),
    "maestro_alerts": _gauge("Alerts that are raised and not resolved, by rule.", "name", NAMES),
    "maestro_webhook_deliveries_total": _counter(
        "Attempts to deliver alerts: taken, to be tried again, or given up.",
        "result",
        ("delivered", "retried", "given_up"),
    ),
    "maestro_usage_tokens_total": _counter(
        "Tokens that agents reported; many agents count cached ones as input, too.",
        "kind",
        ("input", "output", "cached"),
    ),
    "maestro_usage_cost_total": _counter("Cost that agents reported, in their currency."),
}
"""All metrics by name."""
