"""The parts that this node takes of restores over several: staged when their turn has come, exchanged when decided.

What a decided restore left pending here is exchanged before this node's daemon takes any work. Where that cannot be
done yet, as the store or a disk is away, it is tried again: its agents are stopped until then.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from maestro.model.coordination import part_reports
from maestro.model.coordination.restore_parts import Restore
from maestro.model.errors import MaestroError, Refused, StoreAway
from maestro.model.events import (
    Event,
    RestoreDone,
    RestoreFailed,
    RestoreOpened,
    RestorePartFailed,
    RestorePlaced,
)
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.follower import Follower
from maestro.runtime.restores.across import outcome
from maestro.runtime.restores.across.node_part import NodePart
from maestro.runtime.restores.crash_recovery import end_begun
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.rights import restoring
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.workspaces.exchanges.exchange import Exchange

NEWS = (RestoreOpened, RestoreDone, RestorePlaced, RestoreFailed, RestorePartFailed)
IDLE_S_MAX = 30.0
AGAIN_S = 1.0


class RestoreParts:
    """The parts of one daemon."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self._context = context
        self._news = trio.Event()
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, NEWS):
            self._news.set()

    async def settle(self) -> None:
        """At the daemon's start: exchange what is pending here. What cannot be done is logged, and tried again.

        No part begins here, as it would wait for the others, and for a node that leads: all of them may be starting.
        """
        try:
            await self._look(begins=False)
        except (MaestroError, OSError) as error:
            seldom.warn("a restore over several nodes", _told(error))

    async def run(self) -> None:
        """Take parts for ever."""
        while True:
            self._news = trio.Event()
            wait_s = IDLE_S_MAX
            try:
                if not await self._look():
                    wait_s = AGAIN_S
            except (MaestroError, OSError) as error:
                if self._context.gateway.closing:
                    return
                seldom.warn("a restore over several nodes", _told(error))
                wait_s = AGAIN_S
            with trio.move_on_after(wait_s):
                await self._news.wait()

    async def _look(self, begins: bool = True) -> bool:
        """Do what there is to do here; whether that is all for now. begins: also parts that are not decided."""
        context = self._context
        for row in await context.rows(context.views.restores, "open"):
            if await outcome.owes(context, row):
                if not await self._in_turn(row, late=True):
                    return False
            elif begins and part_reports.wants(row, context.node) and not await self._in_turn(row, late=False):
                return False
        return True

    async def _in_turn(self, row: Restore, late: bool) -> bool:
        """Take the right to restore here, and do the part; False where another restore has it."""
        context, journal = self._context, Journal(self._context.settings.home)
        async with AsyncExitStack() as stack:
            try:
                exchange = await stack.enter_async_context(restoring(journal))
            except Refused:
                return False
            await end_begun(context, journal)
            now = await outcome.look(context, row.id)
            origins = stack.enter_context(OpenOrigins(context))
            if now is not None and late and await outcome.owes(context, now):
                part = NodePart(context, now, await outcome.options(context, now), origins, late=True)
                await self._stage_late(part, journal, exchange)
                await self._place(part, journal)
            elif now is not None and not late and part_reports.wants(now, context.node):
                part = NodePart(context, now, await outcome.options(context, now), origins)
                await self._take(part, journal, exchange)
        return True

    async def _take(self, part: NodePart, journal: Journal, exchange: Exchange) -> None:
        """Stage the part, say so, wait for what is decided, and do that."""
        context, row = self._context, part.row
        try:
            staged = await part.stage(journal, exchange)
        except StoreAway:  # it is staged anew when the store is back, as long as the leader waits for that
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(exchange.drop)
                await trio.to_thread.run_sync(journal.end)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must hear of it
            known = user_error(error)
            why = known.line() if known else repr(error)
            log.warning("restore %s: the part of this node cannot be done: %s", row.id, why)
            await trio.to_thread.run_sync(exchange.drop)
            await context.insist(lambda: outcome.tell_failed(context, row, why))
            await trio.to_thread.run_sync(journal.end)
            return
        await context.insist(
            lambda: outcome.tell(context, row, lambda now, floor: part_reports.decide_staged(now, staged, floor))
        )
        decided = await self._outcome(row)
        if await context.insist(lambda: outcome.owes(context, decided)):
            with trio.CancelScope(shield=True):
                await self._place(part, journal)
        else:
            await trio.to_thread.run_sync(exchange.drop)
            await trio.to_thread.run_sync(journal.end)

    async def _outcome(self, row: Restore) -> Restore | None:
        """Wait until the restore is decided or has failed; None where the log does not know it any more."""
        context = self._context
        while True:
            self._news = trio.Event()
            now = await context.insist(lambda: outcome.look(context, row.id))
            if now is None or now.decided or now.state == "failed":
                return now
            with trio.move_on_after(IDLE_S_MAX):
                await self._news.wait()

    async def _stage_late(self, part: NodePart, journal: Journal, exchange: Exchange) -> None:
        """Stage again what is decided, and keep what is there. Raises Refused where that cannot be done now."""
        folders = SnapshotFolders(self._context.settings.home)
        try:
            await part.stage(journal, exchange)
            async with folders.turn(trio.lowlevel.checkpoint):
                if kept := await part.keep(folders):
                    log.info("restore %s: what is there now is kept in snapshot %s", part.row.id, kept)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(exchange.drop)
                await trio.to_thread.run_sync(journal.end)
            raise

    async def _place(self, part: NodePart, journal: Journal) -> None:
        """Exchange the workspaces, say so, and let the agents go on. No snapshot is taken here meanwhile."""
        context = self._context

        async def wait() -> None:
            log.info("restore %s waits for the snapshot that is being taken here", part.row.id)

        async with SnapshotFolders(context.settings.home).turn(wait):
            await part.place()
        await context.insist(lambda: outcome.tell_placed(context, part.row, part.begun, part.left))
        await trio.to_thread.run_sync(journal.end)
        left = f"; left as they are: {', '.join(part.left)}" if part.left else ""
        log.info("restore %s: the workspaces of this node are exchanged%s", part.row.id, left)
        await part.remember()


def _told(error: MaestroError | OSError) -> str:
    return error.line() if isinstance(error, MaestroError) else str(error)
