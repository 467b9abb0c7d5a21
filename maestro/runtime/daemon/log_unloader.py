"""The log unloader: removes the log that a restore was loading into an empty store when it was broken off."""

from __future__ import annotations

import trio

from maestro.config import Settings
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.restores.conclusion import end
from maestro.runtime.restores.crash_recovery import ENDED, no_daemon
from maestro.runtime.restores.journal import BegunRestore, Journal
from maestro.runtime.restores.rights import restoring


async def unload_begun(settings: Settings) -> None:
    """Remove a log that was not loaded to its end. For a daemon, before it reads its log. Raises as `open_context`."""
    journal = Journal(settings.home)
    begun = _loading(journal)
    if begun is None:
        return
    try:
        async with restoring(journal):
            begun = _loading(journal)
            if begun is None or begun.broken_off.is_done:
                return
            KnownHead(settings).forget()  # it may know the log that was there before the load
            async with open_context(settings) as context:
                await end(context, begun, ENDED)
            await trio.to_thread.run_sync(journal.end)
    except Refused as refused:
        log.info("a restore that was begun: %s", refused.line())


async def unload_alone(settings: Settings) -> None:
    """As `unload_begun`, for a command without a daemon; does nothing where a daemon is about to start."""
    with no_daemon(settings.home) as is_free:
        try:
            if is_free:
                await unload_begun(settings)
        except MaestroError as error:  # the command goes on, and says itself what is wrong with its store
            log.debug("a log that was being loaded is not removed: %s", error.line())


def _loading(journal: Journal) -> BegunRestore | None:
    try:
        begun = journal.read()
    except MaestroError as error:  # `crash_recovery.settle` tells the user
        log.debug("the journal of restores cannot be read: %s", error.line())
        return None
    return begun if begun is not None and begun.loads is not None else None
