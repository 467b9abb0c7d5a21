"""The guard of the embedded store: restarts a store that died, and holds work back when its disk fills.

With `appendfsync always` the server ends when it cannot write. `embedded_server.ensure` then frees the ballast, and no
new run is taken until there is room again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from maestro.model.errors import StoreAway
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.store.embedded import ballast, data_files

if TYPE_CHECKING:
    from maestro.runtime.worker.worker import Worker

EVERY_S = 0.25
DISK_EVERY_S = 2.0
FILES_EVERY_S = 1.0
REWRITE_S_MAX = 30.0


async def keep_alive(context: Context) -> None:
    """Start the embedded store again while appends wait for it; reads start it themselves (`Context.call`).

    Raises StoreUnsafe where the store cannot load its data any more: waiting would not mend that.
    """
    while context.revive is not None:
        await trio.sleep(EVERY_S)
        if context.gateway.away_since is None:
            continue
        try:
            await trio.to_thread.run_sync(context.revive)
        except StoreAway as error:
            log.error("the embedded store does not come back: %s", error.line())
            await trio.sleep(1.0)


async def watch_files(context: Context) -> None:
    """Have the embedded store write its data files again where somebody removed them while it runs."""
    home = context.settings.home
    data = home / "store" / "data"
    while context.revive is not None:
        await trio.sleep(FILES_EVERY_S)
        if context.gateway.away_since is not None:
            continue
        gone = await trio.to_thread.run_sync(data_files.missing, data)
        if not gone:
            continue
        if gone == data.name:
            seldom.warn("store files", f"{data} was removed under the embedded store; {data_files.MEND}")
            continue
        log.warning("%s was removed under the embedded store, which writes all of its data again", gone)
        await trio.to_thread.run_sync(data_files.write_again, home)
        with trio.move_on_after(REWRITE_S_MAX):
            while await trio.to_thread.run_sync(data_files.missing, data):
                await trio.sleep(EVERY_S)


async def watch_disk(context: Context, worker: Worker) -> None:
    """Have the worker take no runs while the disk of the embedded store is nearly full."""
    if context.revive is None:
        return
    home = context.settings.home
    while True:
        state = await trio.to_thread.run_sync(ballast.disk_state, home)
        if state.low != worker.low_disk:
            worker.low_disk = state.low
            if state.low:
                log.error("%d MiB free below %s: no work is claimed until there is room", state.free_bytes >> 20, home)
            else:
                log.info("there is room below %s again", home)
        if not state.low and not state.ballast:
            await trio.to_thread.run_sync(ballast.restore_ballast, home)
        await trio.sleep(DISK_EVERY_S)
