"""The view `deliveries`: webhooks, and what they are still to be told; row id = subject.

It folds all events, not only those of the line. What was delivered or dropped is no row any more. Indexes: `endpoints`,
by the time of configuration; `open` and `due:<endpoint>`, deliveries by the time of their next attempt; `failed`, those
that have none; `of:<endpoint>` and `alert:<alert>`, all of an endpoint and of an alert, in the order of its events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.monitoring.alert import Delivery, Endpoint, evolve_delivery, evolve_endpoint

NAME = "deliveries"
VERSION = 1
FOLLOWS_LINE = False

Rows = dict[str, Any]
_decoder = msgspec.json.Decoder(Endpoint | Delivery)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    return event.subject


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def endpoint(event: Event) -> None:
        _put(rows, event, evolve_endpoint(rows.get(event.subject), event))

    def delivery(event: Event) -> None:
        _put(rows, event, evolve_delivery(rows.get(event.subject), event))

    return {
        **dict.fromkeys((e.WebhookConfigured, e.WebhookDisabled), endpoint),
        **dict.fromkeys((e.DeliveryQueued, e.DeliveryAttempted, e.DeliveryDone), delivery),
        **dict.fromkeys((e.DeliveryRequested, e.DeliveryDropped), delivery),
    }


def _put(rows: Rows, event: Event, row: Endpoint | Delivery | None) -> None:
    if row is None:
        rows.pop(event.subject, None)
    else:
        rows[event.subject] = row


def indexes(row: Endpoint | Delivery) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    if isinstance(row, Endpoint):
        return {"endpoints": row.configured_at}
    scores = {f"of:{row.endpoint}": row.seq, f"alert:{row.alert}": row.seq}
    if row.retry_at is None:
        return scores | {"failed": row.queued_at}
    return scores | {"open": row.retry_at, f"due:{row.endpoint}": row.retry_at}


def decode(_row_id: str, data: bytes) -> Endpoint | Delivery:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
