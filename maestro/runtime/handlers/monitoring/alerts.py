"""The handlers of `monitor alerts`, `ack` and `snooze`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import AlertResolved, AlertSnoozed, NewEvent
from maestro.model.ids import shown
from maestro.model.monitoring.alert import Alert, Endpoint
from maestro.model.monitoring.deliveries import GIVEN_UP_MAX, given_up
from maestro.runtime.handlers.monitoring.look import alert_row, order
from maestro.runtime.monitor.alert_telling import with_deliveries
from maestro.runtime.monitor.webhooks import hints, undelivered
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page

LIMIT_MAX = 100_000
WEBHOOK = "webhook:"
"""What `monitor ack` takes instead of an alert: a webhook to give up."""
SNOOZE_MS_MAX = 365 * 86_400_000


async def list_alerts(call: Call, command: p.AlertList) -> p.Done:
    """List the open alerts, worst and longest open first, snoozed ones last; with `all` then resolved ones.

    With `undelivered` what webhooks have not got instead.
    """
    context = call.context
    if not 1 <= command.limit <= LIMIT_MAX:
        raise Invalid(f"limit {command.limit} is out of range", mend=f"use 1 to {LIMIT_MAX}")
    listed = await undelivered(context, command.limit if command.undelivered else 1)
    if command.undelivered:
        return await _list_undelivered(call, listed)
    for line in hints(listed):
        await call.note(line)
    now = await context.now()
    page = await context.page(context.views.alerts, "open")
    rows = sorted(page.rows, key=lambda row: order(row, now))
    total = page.total
    if command.all:
        resolved = await context.page(context.views.alerts, "resolved", max(1, command.limit - len(rows)))
        rows, total = [*rows, *resolved.rows], total + resolved.total
    for row in rows[: command.limit]:
        await call.item(alert_row(row, now))
    shown_ = min(len(rows), command.limit)
    return p.Done(cut=cut_of_page(shown_, "alerts", LIMIT_MAX, total) if total > shown_ else None)


async def _list_undelivered(call: Call, listed: dict[str, Any]) -> p.Done:
    rows, total = listed["undelivered"], listed["undelivered_total"]
    for row in rows:
        await call.item(row)
    return p.Done(listed, cut=cut_of_page(len(rows), "deliveries", LIMIT_MAX, total) if total > len(rows) else None)


async def acknowledge(call: Call, command: p.AlertAcknowledge) -> p.Done:
    """Resolve alerts that tell of one event, all or none; one that is over stays as it is; and give webhooks up.

    Raises NotFound, Refused.
    """
    context = call.context
    named = list(dict.fromkeys(command.alerts))
    webhooks = [name.removeprefix(WEBHOOK) for name in named if name.startswith(WEBHOOK)]
    named = [name for name in named if not name.startswith(WEBHOOK)]
    for endpoint in webhooks:
        await _endpoint(context, endpoint)
    for row in await _rows(context, named):
        if row.open and not row.momentary:
            raise Refused(
                f"alert {row.id} lasts for as long as what it tells of",
                mend=f"mend that, or silence it: maestro monitor snooze {row.id} --for 2h",
            )

    async def decision() -> list[NewEvent]:
        now, floor = await context.now(), await context.floor()
        found: list[NewEvent] = []
        for row in await _rows(context, named):
            if row.open and row.momentary:
                fact = AlertResolved(row.id, "acknowledged", command.reason)
                event = NewEvent(f"alert:{row.id}", fact, max(row.version, floor))
                found += await with_deliveries(context, [event], row, now)
        return found

    await context.decide(call, decision)
    for endpoint in webhooks:
        await _give_up(call, endpoint, command.reason)
    now = await context.now()
    for row in await _rows(context, named):
        await call.item(alert_row(row, now))
    return p.Done()


async def _endpoint(context: Context, endpoint: str) -> Endpoint:
    rows = {row.id: row for row in await context.rows(context.views.endpoints)}
    if endpoint not in rows:
        raise NotFound(f"there is no webhook {shown(endpoint)}", mend="maestro doctor lists those that get nothing")
    return rows[endpoint]


async def _give_up(call: Call, endpoint: str, reason: str) -> None:
    """Disable a webhook, and drop what waits for it."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await _endpoint(context, endpoint)
        waiting = await context.rows(context.views.deliveries, f"of:{endpoint}", GIVEN_UP_MAX)
        return given_up(row, waiting, reason, await context.floor())

    while await context.decide(call, decision) is not None:
        pass
    await call.note(f"webhook {endpoint} gets nothing more, until a monitor is started for it again")


async def snooze(call: Call, command: p.AlertSnooze) -> p.Done:
    """Have nobody told of an alert for a while, or be told again. Raises NotFound, Invalid, Refused."""
    context = call.context
    for_ms = int(command.for_s * 1000)
    if not 0 <= for_ms <= SNOOZE_MS_MAX:
        raise Invalid(f"{command.for_s:g} s is no time to snooze", mend="use 0s to 365d")

    async def decision() -> list[NewEvent]:
        now, floor = await context.now(), await context.floor()
        row = (await _rows(context, [command.alert]))[0]
        if (await context.call(context.views.alert, command.alert)).sealed:
            raise Refused(f"alert {row.id} was over so long ago that nothing can be done to it any more")
        if not for_ms and row.snoozed_until <= now:
            return []
        fact = AlertSnoozed(row.id, now + for_ms if for_ms else 0, command.reason)
        event = NewEvent(f"alert:{row.id}", fact, max(row.version, floor))
        return await with_deliveries(context, [event], row if for_ms else None, now)

    await context.decide(call, decision)
    return p.Done(alert_row((await _rows(context, [command.alert]))[0], await context.now()))


async def _rows(context: Context, named: Sequence[str]) -> list[Alert]:
    found = []
    for name in named:
        row = await context.row(context.views.alert, name)
        if row is None:
            mend = "maestro monitor alerts --all shows all"
            raise NotFound(f"there is no alert {shown(name)}", mend=mend, sought=("alert", name))
        found.append(row)
    return found


HANDLERS: dict[type[p.Command], Handler] = {
    p.AlertList: list_alerts,
    p.AlertAcknowledge: acknowledge,
    p.AlertSnooze: snooze,
}
