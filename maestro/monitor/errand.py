"""The errand of `monitor start --once`: one look, and what is due sent once to webhooks and a collector.

It is made for cron, so it never lasts: what fails is not tried again here, but by the next errand or by a monitor that
runs, since all of it waits in the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from maestro.model.errors import MaestroError
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.service import Options
from maestro.runtime.node.daemon_log import log
from maestro.runtime.protocol import messages as p

ERRAND_S_MAX = 60.0
"""How long the sending may last; whatever is under way then comes again, with the same id."""


async def run(options: Options, link: DaemonLink) -> dict[str, Any]:
    """Look once, send what is due, and answer with what the look says of the store. Raises StoreAway, Invalid."""
    first = await link.ask(p.MonitorLook(check=False, rows=1), start=True)
    if not first.data["store"]["up"]:
        return dict(first.data["store"])
    sends: list[Callable[[], Awaitable[None]]] = []
    if options.webhooks:
        from maestro.monitor.webhook.courier import couriers

        for courier in couriers(options, link):
            await courier.begin_once()  # what the look raises is queued for it, too
            sends.append(courier.once)
    if options.otlp:
        from maestro.monitor.traces import follow_once

        sends.append(lambda: follow_once(options, link))
    look = await link.ask(p.MonitorLook())
    with trio.move_on_after(ERRAND_S_MAX) as limit:
        async with trio.open_nursery() as nursery:
            for send in sends:
                nursery.start_soon(_patiently, send)
    if limit.cancelled_caught:
        log.warning("not all was sent within %.0f s: the next one goes on", ERRAND_S_MAX)
    return dict(look.data["store"])


async def _patiently(send: Callable[[], Awaitable[None]]) -> None:
    try:
        await send()
    except MaestroError as error:
        log.warning("not all was sent: %s", error.line())
