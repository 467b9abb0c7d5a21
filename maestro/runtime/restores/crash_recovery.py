"""A restore that was begun by a process that is gone: its workspaces are made all old or all new, and the log told.

At the daemon's start, and by the next command where no daemon runs. What took its place as a whole is done; all else
never happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from maestro.durable import try_lock
from maestro.model.errors import MaestroError, Refused, StoreUnsafe
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_lock import LOCK
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.restores.conclusion import LEASE, end
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.rights import restoring
from maestro.runtime.restores.stop_reason import is_left_by_restore
from maestro.runtime.scheduler.merged_appends import LEASE as SCHEDULER
from maestro.runtime.snapshots import deletion
from maestro.runtime.worker import janitor
from maestro.workspaces.open_records import is_restoring

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
    while True:
        await trio.sleep(AGAIN_S)
        if is_restoring(context.settings.home):
            await settle(context)


@contextmanager
def no_daemon(home: Path) -> Iterator[bool]:
    """No daemon of this home starts as long as this takes; False where one runs, or is about to."""
    with (home / LOCK).open("a+") as lock:
        yield try_lock(lock.fileno())


async def settle_alone(context: Context) -> None:
    """As `settle`, deletions too, in a command without a daemon; unless one is about to start: then that does it."""
    with no_daemon(context.settings.home) as is_free, suppress(MaestroError):
        if is_free:
            await trio.to_thread.run_sync(janitor.sweep, context.settings.home)
            await deletion.settle(context)
            await settle(context)


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
        with suppress(MaestroError):
            await context.call(context.store.work.lease_drop, lease, context.node)


async def findings(context: Context) -> list[tuple[str, str, str]]:
    """For `doctor`: what was begun and is not ended, and agents that a restore has left stopped: (check, detail,
    remedy).
    """
    found = []
    journal = Journal(context.settings.home)
    if is_restoring(context.settings.home):
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
