"""Deliveries of alerts at webhooks: what is queued, when it is tried again, when it is given up.

A delivery waits in the log from the event that queues it to the one that says that it was taken, so that no restart
loses it. Every decision here is made of rows, the time, and a random number between 0 and 1 that the caller draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, NewEvent
from maestro.model.monitoring.alert import Delivery, Endpoint

WAITING_MAX = 1000
"""How many deliveries of one endpoint may be undelivered; the oldest are dropped for newer ones, which tell more."""
KEEP_TRYING_MS = 72 * 3_600_000
"""No delivery is tried again that has waited for longer than this and failed; `monitor resend` begins anew."""
KEEP_MS = 30 * 86_400_000
"""What could not be delivered for as long is dropped."""
ABANDONED_MS = 7 * 86_400_000
"""An endpoint that no monitor sends to, and that something has waited for as long for, gets nothing more."""
NEVER_MS = 3_600_000
"""As ABANDONED_MS, of an endpoint that has never taken a message: its URL was mistyped, and is corrected by now."""
GIVEN_UP_MAX = 200
"""So many deliveries are dropped in one append."""
BACKOFF_MS = 5_000
BACKOFF_MS_MAX = 3 * 3_600_000
ASKED_MS_MAX = 24 * 3_600_000
"""The longest that a receiver may put off with Retry-After."""
PAUSE_MS = 2_000
PAUSE_MS_MAX = 300_000

KINDS: dict[type[AnyFact], str] = {e.AlertRaised: "raised", e.AlertResolved: "resolved", e.AlertSnoozed: "snoozed"}


class Backlog(msgspec.Struct, frozen=True):
    """What an endpoint has not got yet. waiting: how many deliveries; oldest: the first of them, some of them.

    now: when this was so, server ms; attended: whether a monitor that runs sends to the endpoint.
    """

    endpoint: Endpoint
    waiting: int = 0
    oldest: Sequence[Delivery] = ()
    now: int = 0
    attended: bool = True


def queued(
    fact: e.AlertRaised | e.AlertResolved | e.AlertSnoozed, backlogs: Iterable[Backlog], tag: str
) -> list[NewEvent]:
    """Have each endpoint that is not disabled told of what happens to an alert; what is too much or too old is dropped.

    The events must stand right behind that of `fact`, in the same append. tag: an id that nothing else has, without a
    full stop: the ids of the deliveries begin with it.
    """
    queue: list[NewEvent] = []
    others: list[NewEvent] = []
    for backlog in backlogs:
        endpoint = backlog.endpoint.id
        if not backlog.endpoint.disabled and _never_worked(backlog):
            others += _left(backlog)
            continue
        others += _dropped(backlog)
        if backlog.endpoint.disabled:
            continue
        if _is_abandoned(backlog):
            reason = f"no monitor has sent to it for {ABANDONED_MS // 86_400_000} days"
            others.append(NewEvent(f"webhook:{endpoint}", e.WebhookDisabled(endpoint, reason)))
            continue
        delivery = f"{tag}-{endpoint}"
        told = e.DeliveryQueued(delivery, endpoint, fact.alert, KINDS[type(fact)], behind=len(queue) + 1)
        queue.append(NewEvent(f"delivery:{delivery}", told))
    return queue + others


def _dropped(backlog: Backlog) -> list[NewEvent]:
    """What gives way to the next. At any version: it may be delivered meanwhile, which must not hinder an alert."""
    found = []
    for number, row in enumerate(backlog.oldest):
        if number < backlog.waiting + 1 - WAITING_MAX:
            why = f"{WAITING_MAX} newer ones wait"
        elif row.queued_at <= backlog.now - KEEP_MS:
            why = f"it could not be delivered for {KEEP_MS // 86_400_000} days"
        else:
            continue
        found.append(NewEvent(f"delivery:{row.id}", e.DeliveryDropped(row.id, why)))
    return found


def _is_abandoned(backlog: Backlog) -> bool:
    """Whether nobody sends there any more: the oldest would be tried at once, and within a day again, if somebody did.

    A URL that was exchanged for another one would else collect alerts for ever.
    """
    before = backlog.now - ABANDONED_MS
    return not backlog.attended and any(row.attempts == 0 and row.queued_at <= before for row in backlog.oldest)


def _never_worked(backlog: Backlog) -> bool:
    """Whether it was tried and has never taken a message, and a try has been due for so long that nobody sends there.

    One that was never tried may be a good one whose monitor went away before there was anything to tell.
    """
    before = backlog.now - NEVER_MS
    due = any(row.attempts and row.retry_at is not None and row.retry_at <= before for row in backlog.oldest)
    return due and not backlog.attended and not backlog.endpoint.works


def _left(backlog: Backlog) -> list[NewEvent]:
    """An endpoint that never worked is disabled, and what waits there dropped."""
    why = "it has never taken a message, and no monitor has sent to it for an hour"
    drops = [NewEvent(f"delivery:{row.id}", e.DeliveryDropped(row.id, why)) for row in backlog.oldest]
    return [NewEvent(f"webhook:{backlog.endpoint.id}", e.WebhookDisabled(backlog.endpoint.id, why)), *drops]


def given_up(row: Endpoint, waiting: Sequence[Delivery], reason: str, floor: int) -> list[NewEvent]:
    """A user gives an endpoint up: it is disabled, and the first of what waits there is dropped."""
    why = "its webhook was given up"
    found = [NewEvent(f"delivery:{each.id}", e.DeliveryDropped(each.id, why)) for each in waiting[:GIVEN_UP_MAX]]
    if not row.disabled:
        fact = e.WebhookDisabled(row.id, reason or "a user gave it up", asked=True)
        found.insert(0, NewEvent(f"webhook:{row.id}", fact, max(row.version, floor)))
    return found


def configured(endpoint: str, row: Endpoint | None, node: str, anew: bool, floor: int) -> list[NewEvent]:
    """A monitor sends to this endpoint: recorded once. anew: it has just been started, which enables a disabled one."""
    if not is_news(row, anew):
        return []
    version = max(row.version, floor) if row is not None else floor
    return [NewEvent(f"webhook:{endpoint}", e.WebhookConfigured(endpoint, node), version)]


def is_news(row: Endpoint | None, anew: bool) -> bool:
    """Whether that a monitor sends to an endpoint changes anything."""
    return row is None or bool(row.disabled and anew)


def to_send(rows: Iterable[Delivery], now: int, limit: int) -> list[Delivery]:
    """Those of an endpoint's open deliveries that are to be sent now, in the order of the events that they tell of.

    What is told of an alert comes in its order: nothing of it is sent before what has to be tried again.
    """
    found: list[Delivery] = []
    held: set[str] = set()
    for row in sorted(rows, key=lambda row: (row.seq, row.id)):
        if row.retry_at is None or (row.attempts and row.retry_at > now):  # events may be ahead of the store's clock
            held.add(row.alert)
        elif row.alert not in held and len(found) < limit:
            found.append(row)
    return found


def delay_ms(attempt: int, chance: float) -> int:
    """How long to wait after the failed attempt of this number: twice as long each time, and up to a quarter more."""
    exact = min(BACKOFF_MS * 2 ** min(attempt - 1, 30), BACKOFF_MS_MAX)
    return int(exact * (1 + chance / 4))


def pause_ms(failures: int, asked_ms: int, chance: float) -> int:
    """How long an endpoint is left alone after so many failures in a row, so that the others wait for its recovery.

    asked_ms: what it asked for. Shorter than the delay of a delivery, so that one which it cannot take stops no other.
    """
    exact = min(PAUSE_MS * 2 ** min(failures - 1, 30), PAUSE_MS_MAX)
    return max(int(exact * (1 + chance / 4)), min(asked_ms, ASKED_MS_MAX))


class Report(msgspec.Struct, frozen=True):
    """How an attempt ended. why: "" where it was taken; status: of HTTP, or 0; retry_ms: what the receiver asked for;
    disabled: it wants nothing more.
    """

    attempt: int
    status: int = 0
    why: str = ""
    retry_ms: int = 0
    disabled: bool = False


class Moment(msgspec.Struct, frozen=True):
    """When a decision is made: server ms, the floor of the log, and a random number from 0 to 1."""

    now: int
    floor: int
    chance: float


def reported(row: Delivery | None, endpoint: Endpoint | None, report: Report, moment: Moment) -> list[NewEvent]:
    """The attempt in the log. Nothing where the delivery is settled, or this attempt was reported before."""
    if row is None:
        return []
    subject, version = f"delivery:{row.id}", max(row.version, moment.floor)
    if not report.why:
        done = [NewEvent(subject, e.DeliveryDone(row.id, report.status), version)]
        if endpoint is not None and not endpoint.works:
            done.append(NewEvent(f"webhook:{endpoint.id}", e.WebhookConfigured(endpoint.id, endpoint.node, works=True)))
        return done
    if report.attempt != row.attempts + 1 or row.retry_at is None:
        return []
    again = None if report.disabled else _retry_at(row, report, moment)
    failed = e.DeliveryAttempted(row.id, report.attempt, report.why, report.status, again)
    events = [NewEvent(subject, failed, version)]
    if report.disabled and endpoint is not None and not endpoint.disabled:
        disabled = e.WebhookDisabled(endpoint.id, report.why)
        events.append(NewEvent(f"webhook:{endpoint.id}", disabled, max(endpoint.version, moment.floor)))
    return events


def _retry_at(row: Delivery, report: Report, moment: Moment) -> int | None:
    """When to try again: not before the receiver wants it; None where it has been tried for long enough."""
    delay = max(delay_ms(report.attempt, moment.chance), min(report.retry_ms, ASKED_MS_MAX))
    again = moment.now + delay
    return again if again <= row.queued_at + KEEP_TRYING_MS else None


def resent(rows: Iterable[Delivery], floor: int) -> list[NewEvent]:
    """Have sent again now what failed: also what would have been tried again later."""
    return [
        NewEvent(f"delivery:{row.id}", e.DeliveryRequested(row.id), max(row.version, floor))
        for row in rows
        if row.retry_at is None or (row.attempts and not row.requested)
    ]
