"""The log that a restore loaded into an empty store, and was broken off: removed again before anybody works with it."""

from __future__ import annotations

from contextlib import suppress

import trio

from maestro.config import Settings
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.known_head import Witness
from maestro.runtime.restores.conclusion import end
from maestro.runtime.restores.crash_recovery import ENDED, no_daemon
from maestro.runtime.restores.journal import BegunRestore, Journal
from maestro.runtime.restores.rights import restoring


async def unload_begun(settings: Settings) -> None:
    """By a daemon before it looks at its log, and by a command without one. Raises as `open_context`."""
    journal = Journal(settings.home)
    begun = _loading(journal)
    if begun is None:
        return
    try:
        async with restoring(journal):
            begun = _loading(journal)
            if begun is None or begun.broken_off.is_done:
                return
            Witness(settings).forget()  # it may know the log that was there before the load
            async with open_context(settings) as context:
                await end(context, begun, ENDED)
            await trio.to_thread.run_sync(journal.end)
    except Refused as refused:
        log.info("a restore that was begun: %s", refused.line())


async def unload_alone(settings: Settings) -> None:
    """As `unload_begun`, in a command without a daemon, unless one is about to start."""
    with no_daemon(settings.home) as is_free, suppress(MaestroError):
        if is_free:
            await unload_begun(settings)


def _loading(journal: Journal) -> BegunRestore | None:
    try:
        begun = journal.read()
    except MaestroError:  # `settle` says it
        return None
    return begun if begun is not None and begun.loads is not None else None
