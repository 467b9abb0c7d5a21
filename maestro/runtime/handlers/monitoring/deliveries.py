"""The handlers of deliveries of alerts at webhooks: monitors lease them and report; people have them sent again.

A lease is of an endpoint, so that one monitor at a time sends there, one delivery after the other. Whoever loses its
lease while it sends does no harm: a delivery may come twice, with the same id.
"""

from __future__ import annotations

import functools
import random
from typing import Any

import msgspec

from maestro.model.errors import NotFound, VerificationFailed
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.monitoring import deliveries as model
from maestro.model.monitoring.alert import Delivery, Endpoint
from maestro.runtime.monitor.payload import body
from maestro.runtime.monitor.webhooks import delivery_row, present, said_present
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from projections.view_calls import ALL


async def take(call: Call, command: p.DeliveryTake) -> p.Done:
    """Lease endpoints, and answer with what is to be sent to them now, oldest first. Data: by endpoint, its state."""
    context = call.context
    known = await _configured(call, command)
    await context.call(said_present, context.store, command)
    state: dict[str, Any] = {}
    for endpoint in command.endpoints:
        disabled = known[endpoint].disabled if endpoint in known else ""
        ready = [] if disabled else await _ready(context, endpoint)
        state[endpoint] = {"disabled": disabled, "ready": len(ready), "requested": any(row.requested for row in ready)}
        lease = f"webhook:{endpoint}", command.monitor
        if not ready[: command.limit]:
            await context.call(context.store.work.lease_drop, *lease)
        elif await context.call(context.store.work.lease_take, *lease, int(command.lease_s * 1000)):
            for row in (await _ready(context, endpoint))[: command.limit]:  # another one may have sent some before that
                await call.item(await _message(context, row))
    return p.Done(state)


async def _configured(call: Call, command: p.DeliveryTake) -> dict[str, Endpoint]:
    """All endpoints by id, once those are recorded that are new, or that a monitor was started for again."""
    context = call.context
    known: dict[str, Endpoint] = {}

    async def decision() -> list[NewEvent]:
        known.update({row.id: row for row in await context.rows(context.views.endpoints)})
        if not any(model.is_news(known.get(endpoint), command.anew) for endpoint in command.endpoints):
            return []
        floor = await context.floor()
        found: list[NewEvent] = []
        for endpoint in command.endpoints:
            found += model.configured(endpoint, known.get(endpoint), context.node, command.anew, floor)
        return found

    if await context.decide(call, decision) is not None:
        await decision()
    return known


async def _ready(context: Context, endpoint: str) -> list[Delivery]:
    due = await context.rows(context.views.deliveries, f"due:{endpoint}", ALL)
    return model.to_send(due, await context.now(), ALL) if due else []


async def _message(context: Context, row: Delivery) -> dict[str, Any]:
    """A delivery as its courier gets it. Where history is damaged it tells of the alert as it is now."""
    alert = await context.row(context.views.alert, row.alert)
    read = functools.partial(context.call, body, context.store.log)
    try:
        text = await read(row, alert, context.settings.namespace)
    except VerificationFailed:
        text = await read(msgspec.structs.replace(row, seq=0), alert, context.settings.namespace)
    return {"delivery": row.id, "endpoint": row.endpoint, "attempt": row.attempts + 1, "body": text.decode()}


async def report(call: Call, command: p.DeliveryReport) -> p.Done:
    """Record how an attempt ended. Data: whether that was news, and in how many seconds it is tried again."""
    context = call.context
    retry_ms = int(max(0.0, min(command.retry_s or 0.0, model.ASKED_MS_MAX / 1000)) * 1000)
    found = model.Report(command.attempt, command.status, command.why, retry_ms, command.disabled)
    chance = random.random()

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.delivery, command.delivery)
        endpoint = await _endpoint(context, row.endpoint) if row is not None else None
        moment = model.Moment(await context.now(), await context.floor(), chance)
        return model.reported(row, endpoint, found, moment)

    recorded = await context.decide(call, decision) is not None
    row = await context.row(context.views.delivery, command.delivery)
    return p.Done({"recorded": recorded, "given_up": row is not None and row.retry_at is None})


async def _endpoint(context: Context, endpoint: str) -> Endpoint | None:
    return next((row for row in await context.rows(context.views.endpoints) if row.id == endpoint), None)


async def resend(call: Call, command: p.DeliveryResend) -> p.Done:
    """Have sent again what failed of an alert; answer with all that waits. Raises NotFound: there is no such alert."""
    context = call.context
    if await context.row(context.views.alert, command.alert) is None:
        mend = "maestro monitor alerts --all shows all"
        raise NotFound(f"there is no alert {shown(command.alert)}", mend=mend, sought=("alert", command.alert))
    of_alert = functools.partial(context.rows, context.views.deliveries, f"alert:{command.alert}", ALL)

    async def decision() -> list[NewEvent]:
        return model.resent(await of_alert(), await context.floor())

    await context.decide(call, decision)
    waiting = await of_alert()
    disabled = {row.id: row.disabled for row in await context.rows(context.views.endpoints)}
    attended = await context.call(present, context.store, sorted({row.endpoint for row in waiting}))
    for row in waiting:
        await call.item(delivery_row(row, disabled.get(row.endpoint, "")))
        if disabled.get(row.endpoint):
            await call.note(
                f"webhook {row.endpoint} is disabled: it gets this once a monitor is started for it", "warn"
            )
        elif row.endpoint not in attended:
            await call.note(f"no monitor that runs sends to webhook {row.endpoint}: it gets this once one does", "warn")
    return p.Done()


HANDLERS: dict[type[p.Command], Handler] = {p.DeliveryTake: take, p.DeliveryReport: report, p.DeliveryResend: resend}
