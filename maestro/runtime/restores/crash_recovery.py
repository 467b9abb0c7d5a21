"""Recovery of a restore whose process ended midway: its workspaces become all old or all new, and the log is told.

At the daemon's start, and by the next command where no daemon runs. If every workspace was swapped, the restore is
finished; otherwise it is undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from maestro.durable import try_lock
from maestro.model.errors import MaestroError, Refused, StoreUnsafe
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_lock import LOCK
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.restores.across.outcome import end_part
from maestro.runtime.restores.across.pending import REMEDY, waiting_agents
from maestro.runtime.restores.conclusion import LEASE, end
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.rights import drop_lease, restoring
from maestro.runtime.restores.stop_reason import is_left_by_restore
from maestro.runtime.scheduler.merged_appends import LEASE as SCHEDULER
from maestro.runtime.snapshots import deletion
from maestro.runtime.worker import janitor
from maestro.workspaces.open_records import is_restoring

ENDED = "the process that restored ended before it was done"
AGAIN_S = 3.0


async def settle(context: Context) -> None:
    """End the restore that an earlier process of this node has begun, if there is one.

    Errors are logged: the agents of that restore stay stopped until it is ended.
    """
    journal = Journal(context.settings.home)
    if not journal.folder.exists():
        return
    try:
        async with restoring(journal):
            await end_begun(context, journal)
    except StoreUnsafe:
        raise
    except Refused:  # a restore is under way, and its process will end it
        return
    except (MaestroError, OSError) as error:
        said = error.line() if isinstance(error, MaestroError) else str(error)
        seldom.warn("a restore that was begun cannot be ended", said)


async def keep_settled(context: Context) -> None:
    """Every few seconds, end a restore that could not be ended before, as the store was away. Runs in every daemon."""
    while True:
        await trio.sleep(AGAIN_S)
        if is_restoring(context.settings.home):
            await settle(context)


@contextmanager
def no_daemon(home: Path) -> Iterator[bool]:
    """Keep daemons of this home from starting during the block; yields False where one runs, or is about to."""
    with (home / LOCK).open("a+") as lock:
        yield try_lock(lock.fileno())


async def settle_alone(context: Context) -> None:
    """In a command without a daemon: end the restores and deletions that earlier processes have begun.

    Does nothing where a daemon is about to start, which does the same.
    """
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
    """End the restore in the journal. Its stages have been swapped in or removed already, when its exchange
    was opened.
    """
    begun = await trio.to_thread.run_sync(journal.read)
    if begun is None:
        return
    if begun.across:
        await end_part(context, begun)
        await trio.to_thread.run_sync(journal.end)
        return
    is_done = await end(context, begun, ENDED)
    left = begun.broken_off.left
    told = f"; somebody has to look after {', '.join(left)}" if left else ""
    what = "it is complete now" if is_done else "nothing was changed"
    log.info("restore %s of an earlier process: %s%s", begun.restore, what, told)
    await trio.to_thread.run_sync(journal.end)
    for lease in (LEASE, SCHEDULER) if begun.loads else (LEASE,):
        await drop_lease(context, lease)


async def findings(context: Context, is_away: bool = False) -> list[tuple[str, str, str]]:
    """What `doctor` says of restores: those that are not ended, and agents that one has left stopped.

    Each finding is (check, detail, remedy). is_away: the store cannot be asked; what this node knows is told.
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
        except Refused:  # a restore is under way, and its process will end it
            return []
        except MaestroError as error:
            found.append(("restore", error.line(), error.mend))
    waiting = {} if is_away else await waiting_agents(context)
    found += [("restore", what, REMEDY) for what in dict.fromkeys(waiting.values())]
    for row in () if is_away else await context.rows(context.views.agents):
        if row.id not in waiting and (why := await is_left_by_restore(context, row)):
            found.append(
                (f"agent {row.id}", why, why.split("`")[1] if "`" in why else f"maestro agent restart {row.id}")
            )
    return found
