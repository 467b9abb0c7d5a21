"""Keeping the embedded store alive from its node's daemon: restarted when it died, work held back when its disk fills.

With `appendfsync always` the server ends when it cannot write. The ballast is then freed by `server.ensure`, and no
new work is claimed until there is room again.
"""

from __future__ import annotations

import trio

from maestro.model.errors import MaestroError
from maestro.runtime.context import Context
from maestro.runtime.logs import log
from maestro.runtime.worker import Worker
from maestro.store import ballast, choice, server

EVERY_S = 0.25
DISK_EVERY_S = 2.0


async def keep_store(context: Context, worker: Worker) -> None:
    """Runs in every daemon; does nothing where the store is not the embedded one."""
    settings = context.settings
    if choice.choose(settings).kind != "embedded":
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_restart, context)
        nursery.start_soon(_watch_disk, context, worker)


async def _restart(context: Context) -> None:
    settings = context.settings
    while True:
        await trio.sleep(EVERY_S)
        if context.gateway.away_since is None and not context.store_away:
            continue
        context.store_away = False
        try:
            await trio.to_thread.run_sync(server.ensure, settings.home, settings.embedded_fsync)
        except MaestroError as error:
            log.error("the embedded store does not come back: %s", error.line())
            await trio.sleep(1.0)


async def _watch_disk(context: Context, worker: Worker) -> None:
    home = context.settings.home
    while True:
        state = ballast.disk_state(home)
        if state.low != worker.low_disk:
            worker.low_disk = state.low
            if state.low:
                log.error("%d MiB free below %s: no work is claimed until there is room", state.free_bytes >> 20, home)
            else:
                log.info("there is room below %s again", home)
        if not state.low and not state.ballast:
            await trio.to_thread.run_sync(ballast.restore_ballast, home)
        await trio.sleep(DISK_EVERY_S)
