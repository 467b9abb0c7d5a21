"""Schedules of a workflow as people write them: cron expressions and time zones that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from maestro.model.ids import nearest
from maestro.model.workflow.checks import Finding
from maestro.model.workflow.definition import Workflow

CHARS_MAX = 200
FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
RANGES = ("0 to 59", "0 to 23", "1 to 31 or L", "1 to 12 or JAN to DEC", "0 to 7 or SUN to SAT")
STEPS_MAX = (59, 23, 31, 12, 7)
FORM = "write five fields: minute, hour, day of the month, month, day of the week, as in `0 2 * * *`"
NAMED = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
"""Short names of other crons, as they are written here."""


def schedule_findings(workflow: Workflow) -> Iterator[Finding]:
    """What is wrong with the times of a definition's schedules."""
    for at, schedule in enumerate(workflow.schedules):
        for offset, what, mend in cron_errors(schedule.cron):
            yield Finding(("schedules", at, "cron"), what, mend, offset)
        if wrong := zone_error(schedule.tz):
            yield Finding(("schedules", at, "tz"), *wrong)


def zone_error(name: str) -> tuple[str, str] | None:
    """What is wrong with the name of a time zone, and what to write instead; None where nothing is."""
    if _is_zone(name):
        return None
    like = nearest(name[:60], _zones())
    return f"`{name[:60]}` is no time zone", f"did you mean `{like[0]}`?" if like else "use a name as `Europe/Berlin`"


def cron_errors(text: str) -> Iterator[tuple[int, str, str]]:
    """What is wrong with a cron expression: where in its text, what, what to write instead."""
    parts = list(re.finditer(r"\S+", text))
    if text.strip().lower() in NAMED:
        yield 0, f"`{text.strip()}` is a name of other crons", f"write `{NAMED[text.strip().lower()]}`"
        return
    if len(text) > CHARS_MAX or len(parts) != len(FIELDS):
        has = f"has {len(parts)} fields" if len(text) <= CHARS_MAX else f"is longer than {CHARS_MAX} characters"
        yield 0, f"the schedule {has}", FORM
        return
    wrong = False
    for number, part in enumerate(parts):
        alone = " ".join(part[0] if at == number else "*" for at in range(len(FIELDS)))
        steps = [int(step) for step in re.findall(r"/([0-9]+)", part[0])]
        if max(steps, default=0) > STEPS_MAX[number]:  # `*/90` would be due each hour, which nobody means
            wrong = True
            yield part.start(), f"`{part[0][:60]}` has a step above {STEPS_MAX[number]}", f"use {RANGES[number]}"
        elif not _is_due(alone, False):
            wrong = True
            yield part.start(), f"`{part[0][:60]}` is no {FIELDS[number]}", f"use {RANGES[number]}, `*`, `*/5`, a list"
    if not wrong and not _is_due(text, True):
        yield 0, "there is no such day", "name a day that the month has"


def _is_due(cron: str, ever: bool) -> bool:
    """Whether an expression can be read, and with `ever` also comes to pass within 50 years."""
    from cronsim import CronSim, CronSimError  # not before a schedule is there: most definitions have none

    try:
        simulated = CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
        return not ever or next(simulated) is not None
    except (CronSimError, StopIteration, AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
        return False
    except RecursionError:
        return False


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


@cache
def _zones() -> tuple[str, ...]:
    from zoneinfo import available_timezones

    return tuple(sorted(available_timezones()))
