"""What is told of an alert: its events, each with the deliveries that it queues right behind it, for one append."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.events import AlertRaised, AlertResolved, AlertSnoozed, NewEvent
from maestro.model.monitoring.alert import Alert
from maestro.model.monitoring.deliveries import queued
from maestro.runtime.monitor.webhooks import backlogs
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.read_context import ReadContext


async def with_deliveries(
    context: ReadContext, events: Sequence[NewEvent], row: Alert | None, now: int
) -> list[NewEvent]:
    """The events of one alert with their deliveries; none while the alert is snoozed. row: as it is before them."""
    is_silent = row is not None and row.snoozed_until > now
    if is_silent and len(events) == 1:
        return list(events)
    waiting = await backlogs(context)
    if not waiting:
        return list(events)
    found: list[NewEvent] = []
    for event in events:
        found.append(event)
        if isinstance(event.fact, AlertRaised | AlertResolved | AlertSnoozed) and not is_silent:
            found += queued(event.fact, waiting, new_id())
        if row is not None and row.momentary and isinstance(event.fact, AlertResolved):
            is_silent = False
    return found
