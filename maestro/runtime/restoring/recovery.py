"""A restore that was begun by a process that is gone: its workspaces are made all old or all new, and the log told.

At the daemon's start, and by the next command where no daemon runs. What took its place as a whole is done; all else
never happened.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress

import trio

from maestro.model.errors import MaestroError, StoreUnsafe
from maestro.runtime import janitor
from maestro.runtime.context import Context
from maestro.runtime.daemon_lock import LOCK
from maestro.runtime.logs import log
from maestro.runtime.restoring.concluding import LEASE, abandon, conclude
from maestro.runtime.restoring.journal import Journal

ENDED = "the process that restored ended before it was done"


async def settle(context: Context) -> None:
    """End what an earlier process of this node has begun. Errors are logged: the agents stay stopped until then."""
    journal = Journal(context.settings.home)
    if not journal.folder.exists():
        return
    try:
        exchange = await trio.to_thread.run_sync(journal.exchange)
        try:
            await end_begun(context, journal)
        finally:
            exchange.close()
    except StoreUnsafe:
        raise
    except MaestroError as error:
        log.error("a restore that was begun cannot be ended: %s", error.line())


async def settle_alone(context: Context) -> None:
    """As `settle`, in a command without a daemon, unless one is about to start: then that does it."""
    if not Journal(context.settings.home).is_open:
        return
    with (context.settings.home / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with suppress(MaestroError):
            await trio.to_thread.run_sync(janitor.sweep, context.settings.home)
            await settle(context)


async def end_begun(context: Context, journal: Journal) -> None:
    """End what the journal has, its stages being placed or swept already."""
    begun = await trio.to_thread.run_sync(journal.read)
    if begun is None:
        return
    if begun.placed:
        await conclude(context, begun)
        log.info("restore %s of an earlier process: it is complete now", begun.restore)
    else:
        await abandon(context, begun, ENDED)
        log.info("restore %s of an earlier process: nothing was changed", begun.restore)
    await trio.to_thread.run_sync(journal.end)
    with suppress(MaestroError):
        await context.call(context.store.work.lease_drop, LEASE, context.node)
