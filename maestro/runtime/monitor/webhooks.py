"""What webhooks have not got yet: for the leader, which queues more, and for the lists of people.

Which of them a running monitor sends to is told by samples, `webhook:<endpoint>`: a monitor that is there says so with
each look for deliveries, several times before the sample would run out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maestro.model.monitoring.alert import Delivery, Endpoint
from maestro.model.monitoring.deliveries import Backlog
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row, when
from maestro.store.contract import Store

OLDEST = 50
"""How many of the oldest deliveries of an endpoint are read: more are never dropped at once."""
LISTED_MAX = 100
PRESENT_MS = 60_000


async def backlogs(context: ReadContext) -> list[Backlog]:
    """The backlog of every endpoint, for `queued`. Cost: O(endpoints)."""
    endpoints = await context.rows(context.views.endpoints)
    if not endpoints:
        return []
    now = await context.now()
    attended = await context.call(present, context.store, [row.id for row in endpoints])
    found = []
    for endpoint in endpoints:
        page = await context.page(context.views.deliveries, f"of:{endpoint.id}", OLDEST)
        found.append(Backlog(endpoint, page.total, page.rows, now, endpoint.id in attended))
    return found


def said_present(store: Store, command: p.DeliveryTake) -> None:
    """Note that a monitor sends to these endpoints."""
    sample = {"monitor": command.monitor}
    store.work.samples_put({f"webhook:{endpoint}": sample for endpoint in command.endpoints}, PRESENT_MS)


def present(store: Store, endpoints: Sequence[str]) -> dict[str, str]:
    """Those of the endpoints that a running monitor sends to, with the id of one that does."""
    samples = store.work.samples([f"webhook:{endpoint}" for endpoint in endpoints])
    found = zip(endpoints, samples, strict=True)
    return {endpoint: sample.get("monitor", "") for endpoint, sample in found if sample is not None}


def delivery_row(row: Delivery, disabled: str = "") -> Row:
    """The row of a delivery. state: `waiting`, `retrying` or `failed`. disabled: why its endpoint gets nothing."""
    state = "failed" if row.retry_at is None else "retrying" if row.attempts else "waiting"
    return {
        "delivery": row.id,
        "endpoint": row.endpoint,
        "alert": row.alert,
        "of": row.of,
        "state": "disabled" if disabled and row.retry_at is not None else state,
        "attempts": row.attempts,
        "why": row.why or disabled or None,
        "status": row.status or None,
        "queued_at": when(row.queued_at),
        "retry_at": None if disabled or row.retry_at is None else when(row.retry_at),
    }


async def undelivered(context: ReadContext, limit: int = LISTED_MAX) -> dict[str, Any]:
    """What was not delivered, and the endpoints: {"undelivered": [row, …], "undelivered_total", "endpoints": [row, …]}.

    What failed comes first. An endpoint is `active`, `disabled` (`why`), or `unattended`: no monitor that runs sends to
    it any more. limit: of deliveries.
    """
    endpoints = await context.rows(context.views.endpoints)
    if not endpoints:
        return {"undelivered": [], "undelivered_total": 0, "endpoints": []}
    attended = await context.call(present, context.store, [row.id for row in endpoints])
    disabled = {row.id: row.disabled for row in endpoints}
    rows: list[Row] = []
    total = 0
    for which in ("failed", "open"):
        page = await context.page(context.views.deliveries, which, limit)
        total += page.total
        rows += [delivery_row(row, disabled.get(row.endpoint, "")) for row in page.rows]
    shown = [await _endpoint_row(context, row, attended.get(row.id)) for row in endpoints]
    return {"undelivered": rows[:limit], "undelivered_total": total, "endpoints": shown}


async def _endpoint_row(context: ReadContext, endpoint: Endpoint, monitor: str | None) -> Row:
    page = await context.page(context.views.deliveries, f"of:{endpoint.id}", 1)
    return {
        "endpoint": endpoint.id,
        "state": "disabled" if endpoint.disabled else "unattended" if monitor is None else "active",
        "why": endpoint.disabled or None,
        "monitor": monitor,
        "node": endpoint.node or None,
        "since": when(endpoint.configured_at),
        "undelivered": page.total,
    }


def without(row: Row) -> str:
    """Why an endpoint gets nothing, in words. row: of an endpoint, as `undelivered` gives it, that is not active."""
    if row["state"] == "disabled":
        return f"is disabled: {row['why']}"
    return "gets nothing: no monitor that runs sends to it"


def way_out(row: Row) -> str:
    """What to do about an endpoint that gets nothing, in words."""
    which = "a monitor says at its start which host it is"
    return f"start a monitor for it ({which}), or give it up: maestro monitor ack webhook:{row['endpoint']}"


def hints(listed: dict[str, Any]) -> list[str]:
    """What a user should know who looks at alerts: which webhooks do not get them, and what is not delivered."""
    found = []
    for row in listed["endpoints"]:
        if row["state"] != "active" and row["undelivered"]:
            found.append(f"webhook {row['endpoint']} {without(row)}; {way_out(row)}")
    if total := listed["undelivered_total"]:
        are = "delivery has" if total == 1 else "deliveries have"
        found.append(f"{total} {are} not arrived: maestro monitor alerts --undelivered")
    return found
