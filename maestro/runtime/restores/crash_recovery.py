"""A restore that was begun by a process that is gone: its workspaces are made all old or all new, and the log told.

At the daemon's start, and by the next command where no daemon runs. What took its place as a whole is done; all else
never happened.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from maestro.model.errors import MaestroError, Refused, StoreUnsafe
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_lock import LOCK
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.restores.conclusion import LEASE, end
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.rights import drop_lease, restoring
from maestro.runtime.restores.stop_reason import is_left_by_restore
from maestro.runtime.scheduler.scheduler import LEASE as SCHEDULER
from maestro.runtime.snapshots import deletion
from maestro.runtime.worker import janitor

ENDED = "the process that restored ended before it was done"
AGAIN_S = 3.0


async def settle(context: Context) -> None:
    """End what an earlier process of this node has begun. Errors are logged: the agents stay stopped until then."""
    journal = Journal(context.settings.home)
    if not journal.folder.exists():
        return
    try:
        async with restoring(journal):
            await end_begun(context, journal)
    except StoreUnsafe:
        raise
    except Refused:  # one is under way: whoever carries it out ends it
        return
    except (MaestroError, OSError) as error:
        said = error.line() if isinstance(error, MaestroError) else str(error)
        seldom.warn("a restore that was begun cannot be ended", said)


async def keep_settled(context: Context) -> None:
    """Runs in every daemon: what could not be ended (the store was away) is ended as soon as it can be."""
    journal = Journal(context.settings.home)
    while True:
        await trio.sleep(AGAIN_S)
        if journal.is_open:
            await settle(context)


@contextmanager
def no_daemon(home: Path) -> Iterator[bool]:
    """No daemon of this home starts as long as this takes; False where one runs, or is about to."""
    with (home / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


async def settle_alone(context: Context) -> None:
    """As `settle`, deletions too, in a command without a daemon; unless one is about to start: then that does it."""
    with no_daemon(context.settings.home) as is_free:
        if not is_free:
            return
        try:
            await trio.to_thread.run_sync(janitor.sweep, context.settings.home)
            await deletion.settle(context)
            await settle(context)
        except MaestroError as error:  # the command goes on, and is refused by itself where it needs what is at fault
            log.info("what an earlier process has begun is not ended yet: %s", error.line())


async def end_begun(context: Context, journal: Journal) -> None:
    """End what the journal has, its stages being placed or swept already."""
    begun = await trio.to_thread.run_sync(journal.read)
    if begun is None:
        return
    is_done = await end(context, begun, ENDED)
    left = begun.broken_off.left
    told = f"; somebody has to look after {', '.join(left)}" if left else ""
    what = "it is complete now" if is_done else "nothing was changed"
    log.info("restore %s of an earlier process: %s%s", begun.restore, what, told)
    await trio.to_thread.run_sync(journal.end)
    for lease in (LEASE, SCHEDULER) if begun.loads else (LEASE,):
        await drop_lease(context, lease)


async def findings(context: Context) -> list[tuple[str, str, str]]:
    """For `doctor`: what was begun and is not ended, and agents that a restore has left stopped: (check, detail,
    remedy).
    """
    found = []
    journal = Journal(context.settings.home)
    if journal.is_open:
        try:
            async with restoring(journal):
                begun = await trio.to_thread.run_sync(journal.read)
            if begun is not None:
                what = f"restore {begun.restore} of {begun.source} was begun and is not ended"
                found.append(("restore", what, "it ends with the next start: maestro up"))
        except Refused:  # one is under way
            return []
        except MaestroError as error:
            found.append(("restore", error.line(), error.mend))
    for row in await context.rows(context.views.agents):
        if why := await is_left_by_restore(context, row):
            found.append(
                (f"agent {row.id}", why, why.split("`")[1] if "`" in why else f"maestro agent restart {row.id}")
            )
    return found
