"""The handler of `maestro schedule list`, and the row of a schedule, with its next due time."""

from __future__ import annotations

import shlex

from maestro.model.schedules.schedule import Firing
from maestro.runtime.monitor.schedules import Scheduled, Schedules, ahead
from maestro.runtime.node.context import Handler
from maestro.runtime.node.read_context import ReadCall
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row, when


async def list_schedules(call: ReadCall, command: p.ScheduleList) -> p.Done:
    """List all schedules: what is due next first, what is switched off last."""
    context = call.context
    firings = {row.schedule: row for row in await context.rows(context.views.firings)}
    now = await context.now()
    rows = [schedule_row(one, firings.get(one.id), now) for one in await Schedules(context).all()]
    for row in sorted(rows, key=lambda row: (row["next_at"] is None, row["next_at"] or "", row["id"])):
        await call.item(row)
    return p.Done()


def schedule_row(scheduled: Scheduled, firing: Firing | None, now: int) -> Row:
    """The row of a schedule. next_at: None where it is switched off, or never due again; left_out: how many due times
    were; the rest of `last_` is of the last firing, and of its end.
    """
    recurring = scheduled.recurring
    next_at = ahead(recurring, firing, now) if scheduled.enabled else None
    last = firing or Firing(scheduled.id, 0)
    ended = bool(last.last_at) and not last.open
    return {
        "id": scheduled.id,
        "command": shlex.join(scheduled.command),
        "cron": recurring.cron,
        "tz": recurring.tz,
        "missed": recurring.missed,
        "enabled": scheduled.enabled,
        "workflow": scheduled.workflow or None,
        "node": scheduled.node or None,
        "next_at": when(next_at or 0),
        "last_at": when(last.last_at),
        "last_due": when(last.last_due),
        "last_ok": last.ok if ended else None,
        "last_made": last.made or None if ended else None,
        "last_why": last.why or None if ended else None,
        "left_out": last.missed,
        "open": bool(last.open),
    }


HANDLERS: dict[type[p.Command], Handler] = {p.ScheduleList: list_schedules}
