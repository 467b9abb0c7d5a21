"""Commands of monitors: what they show, what they measure, alerts and their deliveries."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.runtime.protocol.commands import Command


class MonitorLook(Command, frozen=True, tag_field="kind", tag="monitor look"):
    """Check this node's agents and all alerts now, and show the whole. Data: {at, namespace, node, position, store:
    {up, why, away_s}, nodes, agents, agents_by_state, queue: {waiting, running, counts, oldest, first}, runs,
    runs_open, alerts, alerts_open (but for alerts_snoozed), alerts_snoozed, usage: {total, today, hour}, monitors};
    None is what the store alone knows while it is away. An agent's row has counts_as: its state, `failed` also where it
    works and is unhealthy; agents_by_state and `state` go by that.

    monitor: the id of the monitor that asks, which counts as running for `present_s` seconds from now, 0 once it has
    ended; "" for none.
    check: make the checks now rather than show what is known. lines: how many last lines of each agent to show.
    state: of the agents to show, "" for all. rows: how many agents, and what waits, at most; all are counted.
    """

    monitor: str = ""
    present_s: float = 0.0
    check: bool = True
    lines: int = 1
    state: str = ""
    rows: int = 100


class MonitorFigures(Command, frozen=True, tag_field="kind", tag="monitor figures"):
    """The values of all metrics, as `maestro/metrics.py` names them. Data: {name: [[labels, value], …]}."""


class AlertList(Command, frozen=True, tag_field="kind", tag="monitor alerts"):
    """List alerts, worst and oldest first. Items: alert rows.

    all: also those that are resolved, newest first. limit: of rows. undelivered: instead, what webhooks have not got.
    Items: {delivery, endpoint, alert, …}; Data: {undelivered: as the items, undelivered_total, endpoints}.
    """

    all: bool = False
    limit: int = 100
    undelivered: bool = False


class AlertAcknowledge(Command, frozen=True, tag_field="kind", tag="monitor ack"):
    """Resolve alerts that tell of one event; `webhook:<endpoint>` gives that up. Items: alert rows."""

    alerts: list[str]
    reason: str = ""


class AlertSnooze(Command, frozen=True, tag_field="kind", tag="monitor snooze"):
    """Have nobody told of an alert for a while; 0 ends that. Data: alert row."""

    alert: str
    for_s: float
    reason: str = ""


class DeliveryTake(Command, frozen=True, tag_field="kind", tag="monitor deliveries"):
    """Lease what is to be sent to these endpoints now. Items: {delivery, endpoint, attempt, body}.

    Data: {endpoint: {disabled: why or "", ready: how many are due, requested: whether a user asked for one of them}}.
    monitor: who leases. endpoints: their ids; unknown ones are recorded as configured, and all as attended. lease_s:
    for how many seconds nobody else gets it. limit: how many of an endpoint; 0 leases none. anew: the monitor has just
    been started, which enables an endpoint that was disabled.
    """

    monitor: str
    endpoints: list[str]
    lease_s: float = 60.0
    limit: int = 20
    anew: bool = False


class DeliveryReport(Command, frozen=True, tag_field="kind", tag="monitor delivered"):
    """Record how an attempt at a delivery ended. Data: {recorded: whether it was news, given_up}.

    status: of HTTP, 0 without an answer; why: "" where it was taken, else what went wrong, without URL or address.
    retry_s: when to try again, as the endpoint asked, None for the usual delay; disabled: it wants nothing more.
    """

    monitor: str
    delivery: str
    attempt: int
    status: int = 0
    why: str = ""
    retry_s: float | None = None
    disabled: bool = False


class DeliveryResend(Command, frozen=True, tag_field="kind", tag="monitor resend"):
    """Have the deliveries of an alert that failed sent again, with their ids. Items: {delivery, endpoint, alert, …}."""

    alert: str


SCHEDULABLE = "state snapshot, workflow run, task dispatch or workspace clean"
"""What a schedule may carry out."""


class ScheduleAdd(Command, frozen=True, tag_field="kind", tag="schedule add"):
    """Have a command carried out again and again. Data: schedule row.

    command: what the command line makes of the words behind `--`, with its `kind`; words: as its user wrote them.
    """

    name: str
    cron: str
    words: list[str]
    command: dict[str, Any] = msgspec.field(default_factory=dict)
    tz: str = "UTC"
    missed: str = "once"


class ScheduleList(Command, frozen=True, tag_field="kind", tag="schedule list"):
    """List schedules, those of workflows too, by next due time. Items: schedule rows {id, command, cron, tz, missed,
    enabled, workflow, node, next_at, last_at, last_due, last_ok, last_made, last_why, left_out, open}.
    """


class ScheduleRemove(Command, frozen=True, tag_field="kind", tag="schedule remove"):
    """Remove a schedule. Data: schedule row."""

    name: str


class ScheduleSwitch(Command, frozen=True, tag_field="kind", tag="schedule switch"):
    """Switch a schedule on or off. Data: schedule row."""

    name: str
    enabled: bool


class ScheduleRun(Command, frozen=True, tag_field="kind", tag="schedule run"):
    """Fire a schedule now, whatever its due times. Data: schedule row with what it made."""

    name: str
