"""What the metrics count since the log began, fact by fact."""

from __future__ import annotations

from typing import Any

from maestro.model import events as e
from maestro.model.monitoring.histogram import Histogram
from maestro.model.monitoring.totals import QUEUE_WAIT_MS, RUN_MS, TAKING_MAX, Totals
from projections.monitoring import totals


def counted(*facts: tuple[int, e.AnyFact]) -> Totals:
    """The totals after facts, each with its time."""
    rows: dict[str, Any] = {}
    folds = totals.folds(rows)
    for seq, (at, fact) in enumerate(facts, 1):
        folds[type(fact)](e.Event(seq, "", at, "", "", 0, fact))
    row: Totals = rows[totals.ROW]
    return row


def started(ready_at: int) -> e.RunStarted:
    return e.RunStarted("t-0.1", "t", "a", "n", "/f", "/w", ready_at)


def ended(**fields: Any) -> e.RunEnded:
    return e.RunEnded("t-0.1", "t", "a", "ok", **fields)


def test_a_wait_is_from_being_ready_to_the_start_and_unknown_ones_do_not_count() -> None:
    wait = counted((5_000, started(4_600)), (5_000, started(0)), (5_000, started(5_003))).queue_wait
    assert wait.sum == 400 and sum(wait.counts) == 2
    assert wait.counts[QUEUE_WAIT_MS.index(500)] == wait.counts[0] == 1


def test_a_run_counts_if_it_began() -> None:
    runs = counted((1, ended()), (1, ended(exit_code=0)), (1, ended(signal=9, duration_ms=700))).runs
    assert runs.sum == 700 and sum(runs.counts) == 2 and runs.counts[RUN_MS.index(1_000)] == 1


def test_a_bound_holds_what_is_as_large() -> None:
    histogram = Histogram()
    for value in (0, 10, 11, 10**9):
        histogram.observe((10, 20), value)
    assert histogram.counts == [2, 1, 1]


def test_a_snapshot_counts_where_it_is_complete_and_is_the_last_where_it_was_wanted() -> None:
    row = counted(
        (100, e.SnapshotStarted("s1", "asked")),
        (150, e.SnapshotTaken("s1", 1, bytes=70)),
        (200, e.SnapshotStarted("s2", "failsafe", True)),
        (300, e.SnapshotTaken("s2", 2, True, reason="failsafe", bytes=30)),
        (400, e.SnapshotStarted("s3", "asked")),
        (500, e.SnapshotFailed("s3", "disk full")),
    )
    assert (row.snapshot_ms.sum, row.snapshot_bytes.sum, row.snapshot_at, row.taking) == (150, 100, 150, {})
    assert counted((7, e.SnapshotTaken("s4", 3, True, reason="schedule"))).snapshot_at == 7


def test_snapshots_that_never_end_are_not_kept_without_end() -> None:
    row = counted(*((at, e.SnapshotStarted(f"s{at}", "asked")) for at in range(1, TAKING_MAX + 5)))
    assert len(row.taking) == TAKING_MAX and "s4" not in row.taking and "s5" in row.taking


def test_restores_deliveries_due_times_and_usage_are_counted() -> None:
    row = counted(
        (1, e.RestoreDone("r1", 1)),
        (1, e.RestorePlaced("r2", "s1")),
        (1, e.RestoreFailed("r3", "no")),
        (1, e.DeliveryAttempted("d", 1, "500", 500, 9)),
        (1, e.DeliveryAttempted("d", 2, "500", 500)),
        (1, e.DeliveryDone("d2", 200)),
        (1, e.ScheduleFired("n", 1, missed=2)),
        (1, e.ScheduleSkipped("n", 1, missed=3)),
        (1, e.RunUsageReported("t-0.1", "t", "a", 5, 7, 0.5, 3)),
        (1, e.TaskFinished("t", "failed", "exit")),
    )
    assert row.restores == {"done": 2, "failed": 1}
    assert row.deliveries == {"retried": 1, "given_up": 1, "delivered": 1}
    assert (row.schedule_missed, row.input_tokens, row.output_tokens, row.cached_tokens) == (5, 5, 7, 3)
    assert (row.cost, row.tasks) == (0.5, {"exit": 1})


def test_a_row_comes_back_from_its_json_as_it_was() -> None:
    from projections.fold import encode

    row = counted((5_000, started(4_600)), (1, ended(exit_code=0, duration_ms=5)), (1, e.RestoreFailed("r", "no")))
    assert totals.decode(totals.ROW, encode(row)) == row
