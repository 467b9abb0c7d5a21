"""An alert: something that wants a person's attention, raised once and resolved once; and its deliveries at webhooks.

The rows of the views `alerts` and `deliveries`. They follow the whole log: a restore does not undo that people were
told.
"""

from __future__ import annotations

from typing import Final

import msgspec

from maestro.model import events as e
from maestro.model.events import Event

RECURS_MS: Final = 600_000
"""An alert that is raised again within this time of its recovery is a recurring one."""


class Alert(msgspec.Struct, omit_defaults=True):
    """An alert; the row of the view `alerts`. version: seq of its last event; fields as in `AlertRaised`.

    raised_at, resolved_at: server ms, the latter 0 while it is open; raised_seq: of the event that raised it last;
    how, reason: of its resolution; snoozed_until: server ms; times: how often it was raised; recurring: it came back
    soon after it had recovered.
    """

    id: str
    version: int
    name: str
    subject: str
    severity: str
    what: str
    why: str = ""
    since: int = 0
    command: str = ""
    node: str = ""
    momentary: bool = False
    raised_at: int = 0
    raised_seq: int = 0
    resolved_at: int = 0
    how: str = ""
    reason: str = ""
    snoozed_until: int = 0
    times: int = 1
    recurring: bool = False

    @property
    def open(self) -> bool:
        """Whether it is raised and not resolved."""
        return not self.resolved_at


class Endpoint(msgspec.Struct, omit_defaults=True, tag_field="kind", tag="endpoint"):
    """A webhook that alerts are sent to; the row `webhook:<id>` of the view `deliveries`. disabled: why, or "".

    works: it has taken a message once.
    """

    id: str
    version: int
    configured_at: int = 0
    node: str = ""
    disabled: str = ""
    works: bool = False


class Delivery(msgspec.Struct, omit_defaults=True, tag_field="kind", tag="delivery"):
    """What an endpoint is still to be told; the row `delivery:<id>` of the view `deliveries`, until it is done.

    of: as `DeliveryQueued` has `kind`; seq: of the event that it tells of, 0 where that is not known; queued_at: since
    when it is tried; attempts: how many failed since; why, status: of the last; retry_at: server ms, None where there
    is none to come; requested: a user asked for the next one.
    """

    id: str
    version: int
    endpoint: str
    alert: str
    of: str
    seq: int
    queued_at: int = 0
    attempts: int = 0
    why: str = ""
    status: int = 0
    retry_at: int | None = 0
    requested: bool = False


def evolve(row: Alert | None, event: Event) -> Alert | None:
    """The alert after the event, changed in place."""
    fact = event.fact
    if isinstance(fact, e.AlertRaised):
        snoozed, times = (row.snoozed_until, row.times + 1) if row is not None else (0, 1)
        recurring = row is not None and row.how == "recovered" and event.at - row.resolved_at < RECURS_MS
        return Alert(
            fact.alert,
            event.seq,
            fact.name,
            fact.subject,
            fact.severity,
            fact.what,
            fact.why,
            fact.since or event.at,
            fact.command,
            fact.node,
            fact.momentary,
            raised_at=event.at,
            raised_seq=event.seq,
            snoozed_until=snoozed,
            times=times,
            recurring=recurring,
        )
    if row is None:
        return None
    row.version = event.seq
    match fact:
        case e.AlertResolved():
            row.resolved_at, row.how, row.reason = event.at, fact.how, fact.reason
            row.snoozed_until = 0 if row.momentary else row.snoozed_until  # the next one tells of another event
        case e.AlertSnoozed():
            row.snoozed_until = fact.until
        case _:
            pass
    return row


def evolve_endpoint(row: Endpoint | None, event: Event) -> Endpoint | None:
    """The endpoint after the event."""
    fact = event.fact
    if isinstance(fact, e.WebhookConfigured) and fact.works and row is not None:
        row.version, row.works = event.seq, True
        return row
    if isinstance(fact, e.WebhookConfigured):
        works = fact.works or (row is not None and row.works)
        return Endpoint(fact.endpoint, event.seq, event.at, fact.node, works=works)
    if row is not None and isinstance(fact, e.WebhookDisabled):
        row.version, row.disabled = event.seq, fact.reason or "it answered so"
    return row


def evolve_delivery(row: Delivery | None, event: Event) -> Delivery | None:
    """The delivery after the event; None where there is nothing more to deliver."""
    fact = event.fact
    if isinstance(fact, e.DeliveryQueued):
        of = event.seq - fact.behind if fact.behind else fact.seq
        row = Delivery(fact.delivery, event.seq, fact.endpoint, fact.alert, fact.kind, of, event.at)
        row.retry_at = event.at
        return row
    if row is None or isinstance(fact, e.DeliveryDone | e.DeliveryDropped):
        return None
    row.version = event.seq
    match fact:
        case e.DeliveryAttempted():
            row.attempts, row.why, row.status, row.retry_at = fact.attempt, fact.why, fact.status, fact.retry_at
            row.requested = False
        case e.DeliveryRequested():
            row.attempts, row.queued_at, row.retry_at, row.requested = 0, event.at, event.at, True
        case _:
            pass
    return row
