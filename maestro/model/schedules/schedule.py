"""A schedule, and what has fired of it: the rows of the views `schedules` and `firings`."""

from __future__ import annotations

import msgspec

from maestro.model import events as e
from maestro.model.events import Event, Text


class Schedule(msgspec.Struct, omit_defaults=True):
    """A schedule of a command; the row of the view `schedules`, which follows the line. Fields as in `ScheduleAdded`.

    version: seq of its last event; added_at, switched_at: server ms: nothing that was due before fires.
    """

    name: str
    version: int
    cron: str
    tz: str
    missed: str
    command: list[str]
    cwd: str = ""
    node: str = ""
    request: Text = ""
    enabled: bool = True
    added_at: int = 0
    switched_at: int = 0


class Firing(msgspec.Struct, omit_defaults=True):
    """What has fired of a schedule; the row of the view `firings`, which follows the whole log.

    schedule: as in `ScheduleFired`; version: seq of its last event; last_due: the last due time that fired or was left
    out, server ms; last_at: when it fired; open: fired, and not ended yet: due times; ok, made, why: of the last end;
    missed: how many due times were left out, ever; last_hand: `due` of the last one by hand.
    """

    schedule: str
    version: int
    last_due: int = 0
    last_at: int = 0
    open: list[int] = []
    ok: bool = True
    made: str = ""
    why: str = ""
    missed: int = 0
    last_hand: int = 0


def evolve(row: Schedule | None, event: Event) -> Schedule | None:
    """The schedule after the event, None where it was removed."""
    fact = event.fact
    if isinstance(fact, e.ScheduleAdded):
        return Schedule(
            fact.schedule,
            event.seq,
            fact.cron,
            fact.tz,
            fact.missed,
            list(fact.command),
            fact.cwd,
            fact.node,
            fact.request,
            added_at=event.at,
        )
    if row is None or isinstance(fact, e.ScheduleRemoved):
        return None
    if isinstance(fact, e.ScheduleSwitched):
        row.version, row.enabled, row.switched_at = event.seq, fact.enabled, event.at
    return row


def evolve_firing(row: Firing | None, event: Event) -> Firing:
    """What has fired of a schedule after the event."""
    fact = event.fact
    row = row or Firing(fact.schedule, event.seq)  # type: ignore[union-attr] # all facts of the view have it
    row.version = event.seq
    match fact:
        case e.ScheduleFired():
            row.last_at, row.missed = event.at, row.missed + fact.missed
            if fact.by_hand:
                row.last_hand = fact.due
            else:
                row.last_due = max(row.last_due, fact.due)
            row.open.append(fact.due)
        case e.ScheduleSkipped():
            row.last_due, row.missed = max(row.last_due, fact.until), row.missed + fact.missed
        case e.ScheduleEnded():
            row.open = [due for due in row.open if due != fact.due]
            row.ok, row.made, row.why = fact.ok, fact.made, fact.why
        case _:
            pass
    return row
