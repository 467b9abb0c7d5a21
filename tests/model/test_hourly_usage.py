"""The usage of the last hours: bounded, and the same whatever order a clock that goes back gives the reports."""

from __future__ import annotations

from maestro.model.monitoring.hourly_usage import HOUR_MS, HOURS_MAX, Hours, count, rate, used_since

DAY = 20_000 * 24
"""The number of an hour that a day begins with."""


def test_a_day_is_kept_by_hours_and_no_more() -> None:
    hours: Hours = {}
    for hour in range(DAY, DAY + 40):
        count(hours, hour * HOUR_MS + 1, 10, 0.5)
    assert len(hours) == HOURS_MAX and min(map(int, hours)) == DAY + 40 - HOURS_MAX
    count(hours, (DAY + 1) * HOUR_MS, 99, 9.0)  # a clock that went back: too old to be kept
    assert len(hours) == HOURS_MAX and str(DAY + 1) not in hours


def test_what_was_used_today_begins_at_midnight() -> None:
    hours: Hours = {}
    for hour in (DAY - 1, DAY, DAY + 5):
        count(hours, hour * HOUR_MS, 10, 0.5)
        count(hours, hour * HOUR_MS + HOUR_MS - 1, 10, 0.25)
    assert used_since(hours, DAY * HOUR_MS) == (40, 1.5)


def test_the_last_hour_is_this_one_and_a_part_of_the_one_before() -> None:
    hours: Hours = {}
    count(hours, DAY * HOUR_MS, 100, 4.0)
    count(hours, (DAY + 1) * HOUR_MS, 10, 1.0)
    assert rate(hours, (DAY + 1) * HOUR_MS) == (110, 5.0)
    assert rate(hours, (DAY + 1) * HOUR_MS + HOUR_MS // 2) == (60, 3.0)
    assert rate(hours, (DAY + 2) * HOUR_MS) == (10, 1.0)
    assert rate(hours, (DAY + 4) * HOUR_MS) == (0, 0.0)
