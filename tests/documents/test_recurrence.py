"""Due times: against the clock on the wall, minute by minute, and over a year, in zones with and without changes."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from maestro.documents.recurrence import COUNTED_MAX, Due, due_between, next_due
from maestro.model.errors import Invalid

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
CHANGES = {
    "Europe/Berlin": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Asia/Kolkata": ((2026, 6, 1),),
    "Australia/Lord_Howe": ((2026, 4, 4), (2026, 10, 3)),
}
"""Days on which clocks change, as UTC has them."""
RUNNING = ("* * * * *", "*/15 * * * *", "40 * * * *", "20 */2 * * *", "*/15 3 * * *", "0 */6 * * *", "*/7 1,2 * * SUN")
FIXED = ("30 2 * * *", "15 2 * * *", "45 1 * * *", "0 6 * * *", "0,30 1-3 * * *", "59 23 * * *")
HOUR = 3_600_000


def ms(*when: int, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000  # type: ignore[arg-type, misc]


def dues(cron: str, tz: str, after: int, until: int) -> list[int]:
    found, due = [], next_due(cron, tz, after)
    while due is not None and due <= until:
        found.append(due)
        due = next_due(cron, tz, due)
    return found


def told(times: list[int], tz: str) -> list[str]:
    return [datetime.fromtimestamp(time / 1000, ZoneInfo(tz)).strftime("%d %H:%M%z") for time in times]


def matching(cron: str, tz: str, after: int, until: int) -> list[int]:
    """The minutes at which the clock on the wall shows what a cron says, looked at one by one."""
    minute, hour, _, _, dow = (field.split(",") for field in cron.split())

    def shows(fields: list[str], value: int) -> bool:
        for field in fields:
            span, _, step = field.partition("/")
            low, _, high = span.partition("-")
            if span == "*" and value % int(step or 1) == 0:
                return True
            if span != "*" and int(low) <= value <= int(high or low):
                return True
        return False

    found = []
    for time in range(after + 60_000, until + 1, 60_000):
        wall = datetime.fromtimestamp(time / 1000, ZoneInfo(tz))
        is_day = dow == ["*"] or (dow == ["SUN"] and wall.weekday() == 6)
        if is_day and shows(minute, wall.minute) and shows(hour, wall.hour):
            found.append(time)
    return found


@pytest.mark.parametrize("cron", RUNNING)
def test_stars_and_steps_follow_the_clock_on_the_wall_minute_by_minute(cron: str) -> None:
    for zone in ZONES:
        for day in CHANGES[zone]:
            after = ms(*day) - 20 * HOUR
            assert dues(cron, zone, after, after + 60 * HOUR) == matching(cron, zone, after, after + 60 * HOUR), zone


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", FIXED)
def test_a_fixed_time_comes_once_on_each_day_of_a_year(zone: str, cron: str) -> None:
    after = ms(2025, 12, 31, 23, 59, 30, zone=zone)
    found = dues(cron, zone, after, ms(2026, 12, 31, 23, 59, zone=zone))
    days = Counter(datetime.fromtimestamp(time / 1000, ZoneInfo(zone)).date() for time in found)
    assert len(days) == 365
    usual = len(cron.split()[0].split(",")) * (3 if "-" in cron else 1)
    odd = {day: count for day, count in days.items() if count != usual}
    gaps = {datetime(*day).date() + timedelta(days=more) for day in CHANGES[zone] for more in (0, 1)}
    assert odd.keys() <= gaps and all(1 <= count < usual for count in odd.values()), odd  # two in a gap come as one


def test_where_clocks_spring_a_fixed_time_comes_right_after_the_gap_and_where_they_fall_back_the_first_time() -> None:
    def on(cron: str, zone: str, *day: int) -> list[str]:
        return told(dues(cron, zone, ms(*day, zone=zone), ms(*day, zone=zone) + 26 * HOUR), zone)[:1]

    assert on("30 2 * * *", "Europe/Berlin", 2026, 3, 29) == ["29 03:00+0200"]
    assert on("30 2 * * *", "America/New_York", 2026, 3, 8) == ["08 03:00-0400"]
    assert on("15 2 * * *", "Australia/Lord_Howe", 2026, 10, 4) == ["04 02:30+1100"]
    assert on("30 2 * * *", "Europe/Berlin", 2026, 10, 25) == ["25 02:30+0200"]
    assert on("30 1 * * *", "America/New_York", 2026, 11, 1) == ["01 01:30-0400"]
    assert on("45 1 * * *", "Australia/Lord_Howe", 2026, 4, 5) == ["05 01:45+1100"]


def test_every_two_hours_of_a_whole_year_stay_on_the_wall_clock() -> None:
    found = dues("0 */2 * * *", "Australia/Lord_Howe", ms(2026, 1, 1), ms(2027, 1, 1))
    assert {wall[3:8] for wall in told(found, "Australia/Lord_Howe")} == {f"{hour:02}:00" for hour in range(0, 24, 2)}
    assert len(found) == 365 * 12 - 1  # 02:00 is in the gap of October


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from((*RUNNING, *FIXED)),
    change=st.integers(0, 1),
    begin=st.integers(0, 40 * 60),
    seconds=st.integers(0, 59),
)
def test_from_wherever_one_begins_the_same_times_follow(
    zone: str, cron: str, change: int, begin: int, seconds: int
) -> None:
    day = CHANGES[zone][min(change, len(CHANGES[zone]) - 1)]
    start = ms(*day) - 20 * HOUR
    end = start + 48 * HOUR
    middle = start + begin * 60_000 + seconds * 1000
    assert dues(cron, zone, middle, end) == [due for due in dues(cron, zone, start, end) if due > middle]


def test_what_came_meanwhile_is_counted_up_to_a_limit_and_its_last_is_exact() -> None:
    until = ms(2026, 7, 1, 0, 0, 30)
    assert due_between("0 2 * * *", "UTC", ms(2026, 6, 24), until) == Due(ms(2026, 6, 30, 2), 7)
    assert due_between("0 2 * * *", "UTC", ms(2026, 6, 30, 2), until) is None
    assert due_between("0 2 * * *", "UTC", until, ms(2026, 1, 1)) is None  # a clock that went back
    assert due_between("* * * * *", "UTC", 0, until) == Due(ms(2026, 7, 1), COUNTED_MAX)
    assert due_between("* * 1 1 *", "UTC", 0, until) == Due(ms(2026, 1, 1, 23, 59), COUNTED_MAX)


def test_what_this_machine_cannot_read_is_said() -> None:
    with pytest.raises(Invalid, match="no time zone"):
        next_due("* * * * *", "Mars/Olympus", 0)
    with pytest.raises(Invalid, match="cannot be read"):
        next_due("61 * * * *", "UTC", 0)
    assert next_due("0 0 29 2 *", "UTC", ms(2026, 1, 1)) == int(datetime(2028, 2, 29, tzinfo=UTC).timestamp()) * 1000
