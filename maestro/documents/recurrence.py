"""Recurrence: when a cron is due in a time zone, in the ms of UTC.

A fixed time (neither the minute nor the hour begins with `*`) comes once a day of its calendar: once where clocks fall
back, and right after the gap where they spring. All others follow the clock on the wall as it runs: an hour that there
is twice has them twice, one that is left out has none.

`cronsim` does the calendar. It is asked in local time without a zone, one piece of constant offset from UTC after the
other: stepping hour by hour through a change of half an hour (Australia/Lord_Howe) it would pass over full hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from maestro.model.errors import Invalid

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

COUNTED_MAX = 1000
"""Of more due times than that, no more are counted: it says at least so many."""
SECOND = timedelta(seconds=1)


class Due(msgspec.Struct, frozen=True):
    """Due times that have come. latest: the last of them, ms; count: how many, at most COUNTED_MAX."""

    latest: int
    count: int


def next_due(cron: str, tz: str, after: int) -> int | None:
    """The first due time behind a time, ms of UTC; None where there is none within 50 years.

    Raises Invalid for what only another build or machine can read.
    """
    return next(due_times(cron, tz, after), None)


def due_times(cron: str, tz: str, after: int) -> Iterator[int]:
    """The due times behind a time, in order, ms of UTC. Raises as `next_due`."""
    zone = _zone(tz)
    start = datetime.fromtimestamp(after // 1000, UTC)
    for due in _fixed(cron, zone, start) if is_fixed(cron) else _running(cron, zone, start):
        yield int(due.timestamp()) * 1000


def due_between(cron: str, tz: str, after: int, until: int) -> Due | None:
    """The due times behind `after` and not behind `until`, None where there are none."""
    found = _counted(cron, tz, after, until)
    if found is None or found.count < COUNTED_MAX:
        return found
    many, none = after, until
    while none - many > 1:  # halve the time up to `until` until few enough are left in it, the last one among them
        middle = (many + none) // 2
        last = _counted(cron, tz, middle, until)
        if last is None:
            none = middle
        elif last.count < COUNTED_MAX:
            return Due(last.latest, COUNTED_MAX)
        else:
            many = middle
    return found


def _counted(cron: str, tz: str, after: int, until: int) -> Due | None:
    count, latest = 0, after
    for due in due_times(cron, tz, after):
        if due > until or count == COUNTED_MAX:
            break
        count, latest = count + 1, due
    return Due(latest, count) if count else None


def is_fixed(cron: str) -> bool:
    """Whether a cron names times of the day, rather than that it follows the clock."""
    minute, hour = cron.split()[:2]
    return not minute.startswith("*") and not hour.startswith("*")


def _fixed(cron: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """The times of a fixed one: the first of two where clocks fall back, the end of a gap that they lie in."""
    last = start
    for local in _local_times(cron, _naive(start, zone)):
        due = local
        while not _exists(due, zone):
            due += timedelta(minutes=1)
        found = due.replace(tzinfo=zone).astimezone(UTC)
        if found > last:
            last = found
            yield found


def _running(cron: str, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """The times of one that follows the clock: sought in each piece of constant offset, with that offset."""
    begin, behind = start, start
    while True:
        offset = _offset(begin, zone)
        for local in _local_times(cron, behind.replace(tzinfo=None) + offset):
            found = (local - offset).replace(tzinfo=UTC)
            if _offset(found, zone) != offset:
                begin = _change(begin, found, zone, offset)
                behind = begin - SECOND
                break
            begin = found
            yield found
        else:
            return


def _change(low: datetime, high: datetime, zone: ZoneInfo, offset: timedelta) -> datetime:
    """The first second behind `low`, which has the offset, of another one; `high` has another one."""
    while high - low > SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        low, high = (middle, high) if _offset(middle, zone) == offset else (low, middle)
    return high


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _naive(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _exists(local: datetime, zone: ZoneInfo) -> bool:
    return _naive(local.replace(tzinfo=zone).astimezone(UTC), zone) == local


def _local_times(cron: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError  # not before a schedule is there

    try:
        yield from CronSim(cron, after)
    except OverflowError:  # behind the year 9999
        return
    except CronSimError as error:
        raise Invalid(f"`{cron}` cannot be read here: {error}", "cron") from None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise Invalid(f"this machine knows no time zone `{name}`", "tz", "update tzdata here") from None
