"""The totals of the whole log, which metrics count: the row of the view `totals`.

Other bounds of a histogram are another fold: they need another `VERSION` of the view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact
from maestro.model.monitoring import hourly_usage
from maestro.model.monitoring.histogram import Histogram

QUEUE_WAIT_MS = (10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000)
RUN_MS = (100, 500, 1_000, 5_000, 15_000, 60_000, 180_000, 600_000, 1_800_000, 3_600_000, 14_400_000, 43_200_000)
SNAPSHOT_MS = (10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 900_000)
SNAPSHOT_BYTES = (10**5, 10**6, 10**7, 10**8, 10**9, 10**10, 10**11)

TAKING_MAX = 100
"""So many snapshots are known to be under way; of more, the oldest never ended and are forgotten."""


class Totals(msgspec.Struct, omit_defaults=True):
    """What was counted since the log began.

    tasks: finished ones by outcome; queue_wait: from being ready to the start, of runs; restores: by `done` or
    `failed`; snapshot_*: of complete ones, from the cut on. snapshot_at: server ms, of the last complete one that was
    asked for or that a schedule took, 0 for none; taking: when the snapshots began that are under way. schedule_missed:
    due times; deliveries: attempts by `delivered`, `retried` (another one follows) or `given_up`. cost: in the agents'
    currency. hours: usage by hour.
    """

    tasks: dict[str, int] = {}
    queue_wait: Histogram = msgspec.field(default_factory=Histogram)
    runs: Histogram = msgspec.field(default_factory=Histogram)
    snapshot_ms: Histogram = msgspec.field(default_factory=Histogram)
    snapshot_bytes: Histogram = msgspec.field(default_factory=Histogram)
    snapshot_at: int = 0
    taking: dict[str, int] = {}
    restores: dict[str, int] = {}
    schedule_missed: int = 0
    deliveries: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0
    hours: hourly_usage.Hours = {}


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _task_finished(row: Totals, fact: e.TaskFinished, _at: int) -> None:
    _add(row.tasks, fact.outcome)


def _run_started(row: Totals, fact: e.RunStarted, at: int) -> None:
    ready_at = fact.ready_at
    if ready_at:
        row.queue_wait.observe(QUEUE_WAIT_MS, at - ready_at if at > ready_at else 0)


def _run_ended(row: Totals, fact: e.RunEnded, _at: int) -> None:
    duration_ms = fact.duration_ms
    if duration_ms or fact.exit_code is not None or fact.signal is not None:  # else it never began
        row.runs.observe(RUN_MS, duration_ms)


def _usage_reported(row: Totals, fact: e.RunUsageReported, at: int) -> None:
    row.input_tokens += fact.input_tokens
    row.output_tokens += fact.output_tokens
    row.cached_tokens += fact.cached_tokens
    row.cost += fact.cost
    hourly_usage.count(row.hours, at, fact.input_tokens + fact.output_tokens, fact.cost)


def _snapshot_started(row: Totals, fact: e.SnapshotStarted, at: int) -> None:
    row.taking[fact.snapshot] = at
    if len(row.taking) > TAKING_MAX:
        del row.taking[min(row.taking, key=lambda name: (row.taking[name], name))]


def _snapshot_taken(row: Totals, fact: e.SnapshotTaken, at: int) -> None:
    began_at = row.taking.pop(fact.snapshot, None)
    if began_at is not None:
        row.snapshot_ms.observe(SNAPSHOT_MS, at - began_at)
    row.snapshot_bytes.observe(SNAPSHOT_BYTES, fact.bytes)
    if not fact.automatic or fact.reason == "schedule":
        row.snapshot_at = at


def _snapshot_failed(row: Totals, fact: e.SnapshotFailed, _at: int) -> None:
    row.taking.pop(fact.snapshot, None)


def _restore_done(row: Totals, _fact: e.RestoreDone | e.RestorePlaced, _at: int) -> None:
    _add(row.restores, "done")


def _restore_failed(row: Totals, _fact: e.RestoreFailed, _at: int) -> None:
    _add(row.restores, "failed")


def _due_missed(row: Totals, fact: e.ScheduleFired | e.ScheduleSkipped, _at: int) -> None:
    row.schedule_missed += fact.missed


def _delivery_attempted(row: Totals, fact: e.DeliveryAttempted, _at: int) -> None:
    _add(row.deliveries, "given_up" if fact.retry_at is None else "retried")


def _delivered(row: Totals, _fact: e.DeliveryDone, _at: int) -> None:
    _add(row.deliveries, "delivered")


COUNTS: dict[type[AnyFact], Callable[[Totals, Any, int], None]] = {
    e.TaskFinished: _task_finished,
    e.RunStarted: _run_started,
    e.RunEnded: _run_ended,
    e.RunUsageReported: _usage_reported,
    e.SnapshotStarted: _snapshot_started,
    e.SnapshotTaken: _snapshot_taken,
    e.SnapshotFailed: _snapshot_failed,
    e.RestoreDone: _restore_done,
    e.RestorePlaced: _restore_done,
    e.RestoreFailed: _restore_failed,
    e.ScheduleFired: _due_missed,
    e.ScheduleSkipped: _due_missed,
    e.DeliveryAttempted: _delivery_attempted,
    e.DeliveryDone: _delivered,
}
"""How each fact that counts changes the totals, in place: the row, the fact, and its time."""
