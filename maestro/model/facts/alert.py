"""What happens to alerts, and to their deliveries at webhooks."""

from __future__ import annotations

from typing import TypeAlias

from maestro.model.facts import Fact


class AlertRaised(Fact, frozen=True):
    """`alert:<alert>`: something wants a person's attention. alert: `<name>:<subject>`, such as `task_failed:<task>`.

    name: the rule, one of `alert_rules.NAMES`; subject: what it is about (an agent, a task, a node, …), "" for the
    namespace. severity: `warning` or `critical`. what: in one line; why: the reason or evidence; since: server ms;
    command: what helps; node: where. momentary: it tells of one event, and does not end by itself.
    """

    alert: str
    name: str
    subject: str
    severity: str
    what: str
    why: str = ""
    since: int = 0
    command: str = ""
    node: str = ""
    momentary: bool = False


class AlertResolved(Fact, frozen=True):
    """`alert:<alert>`: it wants no attention any more. how: `recovered`, `acknowledged`, `expired` or `gone`."""

    alert: str
    how: str
    reason: str = ""


class AlertSnoozed(Fact, frozen=True):
    """`alert:<alert>`: nobody is told of it until `until`, server ms; 0 ends that."""

    alert: str
    until: int
    reason: str = ""


class WebhookConfigured(Fact, frozen=True):
    """`webhook:<endpoint>`: a monitor sends alerts there. endpoint: a digest of its URL, which no event names.

    works: it has taken its first message, and all else is as it was.
    """

    endpoint: str
    node: str = ""
    works: bool = False


class WebhookDisabled(Fact, frozen=True):
    """`webhook:<endpoint>`: it gets nothing more, as it answered so (410), until a monitor is started for it again.

    asked: a user gave it up.
    """

    endpoint: str
    reason: str = ""
    asked: bool = False


class DeliveryQueued(Fact, frozen=True):
    """`delivery:<delivery>`: an endpoint is to be told of an alert. delivery: its id there, the same at each attempt.

    kind: `raised`, `resolved` or `snoozed`. seq: of the event that it tells of, 0 where that is in the same append,
    `behind` events before this one.
    """

    delivery: str
    endpoint: str
    alert: str
    kind: str
    seq: int = 0
    behind: int = 0


class DeliveryAttempted(Fact, frozen=True):
    """`delivery:<delivery>`: an attempt failed. why: in words; status: of HTTP, 0 without an answer; retry_at: server
    ms, None where there is no further one.
    """

    delivery: str
    attempt: int
    why: str
    status: int = 0
    retry_at: int | None = None


class DeliveryDone(Fact, frozen=True):
    """`delivery:<delivery>`: the endpoint has taken it. status: of HTTP."""

    delivery: str
    status: int


class DeliveryRequested(Fact, frozen=True):
    """`delivery:<delivery>`: a user has it sent again, from now on, with the same id; its attempts count anew."""

    delivery: str


class DeliveryDropped(Fact, frozen=True):
    """`delivery:<delivery>`: it is given up for good, and cannot be sent again. why: in words."""

    delivery: str
    why: str


AlertFact: TypeAlias = (
    AlertRaised
    | AlertResolved
    | AlertSnoozed
    | WebhookConfigured
    | WebhookDisabled
    | DeliveryQueued
    | DeliveryAttempted
    | DeliveryDone
    | DeliveryRequested
    | DeliveryDropped
)

ALERT_FACTS: dict[str, type[AlertFact]] = {
    "alert.raised": AlertRaised,
    "alert.resolved": AlertResolved,
    "alert.snoozed": AlertSnoozed,
    "webhook.configured": WebhookConfigured,
    "webhook.disabled": WebhookDisabled,
    "webhook.queued": DeliveryQueued,
    "webhook.attempted": DeliveryAttempted,
    "webhook.delivered": DeliveryDone,
    "webhook.requested": DeliveryRequested,
    "webhook.dropped": DeliveryDropped,
}
"""The names of these facts in the stream."""
