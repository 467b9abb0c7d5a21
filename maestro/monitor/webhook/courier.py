"""The couriers of a monitor, one for each webhook: each looks for deliveries, sends them one by one, and reports.

They share nothing, so a receiver that hangs delays its own deliveries alone. What waits is in the log, not here: a
courier that dies anywhere forgets nothing but how long it wanted to leave its receiver alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Protocol

import trio

from maestro.model.errors import Conflict, MaestroError, StoreAway, StoreUnsafe
from maestro.model.monitoring.deliveries import pause_ms
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.webhook import signature
from maestro.monitor.webhook.attempt import Outcome, Sender
from maestro.monitor.webhook.target import Target, targets
from maestro.runtime.client.answers import Answer
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.protocol import messages as p

POLL_S = 2.0
LEASE_S = 30.0
"""For so long nobody else sends there. An attempt that is begun in the first third ends within it."""
BATCH = 20


class Wishes(Protocol):
    """What the options of a monitor say of webhooks."""

    @property
    def monitor(self) -> str:
        """The id of the monitor."""

    @property
    def webhooks(self) -> Sequence[str]:
        """The URLs of its webhooks."""

    @property
    def allow_private(self) -> bool:
        """Whether they may be at private addresses."""


async def deliver(options: Wishes, link: DaemonLink, sender: Sender | None = None) -> None:
    """Send alerts to all webhooks of a monitor, for ever. Raises Invalid for a URL that cannot be one."""
    async with trio.open_nursery() as nursery:
        for courier in couriers(options, link, sender):
            nursery.start_soon(courier.run)


def couriers(options: Wishes, link: DaemonLink, sender: Sender | None = None) -> list[Courier]:
    """The couriers of all webhooks of a monitor. Raises Invalid as `deliver` does."""
    found = targets(options.webhooks, options.allow_private)
    keys = link.settings.webhook_secrets
    if found and not keys:
        log.warning("alerts are sent unsigned, as MAESTRO_WEBHOOK_SECRETS is not set: nobody can tell who sent them")
    sender = sender or (Sender(options.allow_private) if found else None)
    return [Courier(options.monitor, target, link, sender, keys) for target in found if sender is not None]


class Courier:
    """Sends the alerts of one webhook. keys: of the signatures. Its failures in a row decide how long it pauses."""

    def __init__(self, monitor: str, target: Target, link: DaemonLink, sender: Sender, keys: tuple[bytes, ...]) -> None:
        self._monitor = monitor
        self._target = target
        self._link = link
        self._sender = sender
        self._keys = keys
        self._failures = 0
        self._resting_until = 0.0
        self._anew = True
        self._disabled = ""

    async def run(self) -> None:
        """Look for deliveries and send them, for ever, whatever goes wrong."""
        log.info("alerts are sent to %s", self._name)
        while True:
            try:
                sent = await self._round()
            except MaestroError as error:
                seldom.warn(self._name, error.line())
                sent = 0
            if not sent:
                await trio.sleep(POLL_S)

    async def begin_once(self) -> None:
        """Have alerts queued for this webhook from now on. One that is disabled stays so: nobody has just started it
        for that. Raises MaestroError.
        """
        self._anew = False
        await self._take(0)

    async def once(self) -> None:
        """Send what is due, each once, up to the first failure. Raises MaestroError."""
        while await self._round():
            pass
        await self._take(0)  # which gives the lease back

    @property
    def _name(self) -> str:
        return f"webhook {self._target.id} ({self._target.host})"

    async def _round(self) -> int:
        """Send what is due, unless the receiver is left alone; how many were taken."""
        resting = trio.current_time() < self._resting_until
        began = trio.current_time()
        answer = await self._take(0 if resting else BATCH)
        state: dict[str, Any] = answer.data[self._target.id]
        self._tell_disabled(state["disabled"])
        if resting and state["requested"]:  # a user has mended something, and waits
            self._resting_until = 0.0
            return await self._round()
        sent = 0
        for row in answer.rows:
            if trio.current_time() - began > LEASE_S / 3:
                return sent  # another monitor may take it soon; look anew
            if not await self._send(row):
                return 0
            sent += 1
        return sent

    async def _take(self, limit: int) -> Answer:
        command = p.DeliveryTake(self._monitor, [self._target.id], LEASE_S, limit, self._anew)
        answer = await self._link.ask(command)
        self._anew = False
        return answer

    def _tell_disabled(self, why: str) -> None:
        if why and why != self._disabled:
            log.warning("%s is disabled (%s): it gets nothing more until a monitor is started for it", self._name, why)
        self._disabled = why

    async def _send(self, row: dict[str, Any]) -> bool:
        """Make an attempt and report it; whether the message was taken."""
        body = row["body"].encode()
        headers = signature.headers(row["delivery"], int(time.time()), body, self._keys)
        outcome = await self._sender.attempt(self._target, headers, body)
        await self._report(row, outcome)
        if not outcome.why:
            if self._failures:
                log.info("%s takes alerts again", self._name)
            self._failures = 0
            return True
        self._failures += 1
        asked_ms = int((outcome.retry_s or 0.0) * 1000)
        self._resting_until = trio.current_time() + pause_ms(self._failures, asked_ms, random.random()) / 1000
        seldom.warn(self._name, f"attempt {row['attempt']} failed: {outcome.why}")
        return False

    async def _report(self, row: dict[str, Any], outcome: Outcome) -> None:
        """Report an attempt, again until it is heard: else the message would come twice for no reason."""
        command = p.DeliveryReport(
            self._monitor,
            row["delivery"],
            row["attempt"],
            outcome.status,
            outcome.why,
            outcome.retry_s,
            outcome.disabled,
        )
        while True:
            try:
                await self._link.ask(command)
                return
            except (StoreAway, StoreUnsafe, Conflict) as error:
                seldom.warn(self._name, f"an attempt cannot be reported: {error.line()}")
                await trio.sleep(POLL_S)
