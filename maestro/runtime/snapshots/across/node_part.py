"""This node's part of one snapshot over several: hold still, say so, wait for the cut, read, let go on.

It is kept as a whole snapshot of its own in this node's archive. How long the node holds still without a cut is told
by its own clock, from when it heard that the turn has come: what it has let go on before the cut, it does not read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from maestro.model.coordination.part import Part
from maestro.model.coordination.snapshot_parts import LATE
from maestro.model.errors import Refused, StoreAway, Unknown
from maestro.model.events import (
    Event,
    NewEvent,
    SnapshotFailed,
    SnapshotPartFailed,
    SnapshotPartReady,
    SnapshotPartTaken,
    SnapshotStarted,
    SnapshotTaken,
)
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.pause import Pause
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.keeping import Keeping
from maestro.runtime.snapshots.request import SnapshotRequest
from maestro.runtime.snapshots.run_folders import tidying_call
from maestro.runtime.snapshots.shared.upload import check_reach, copy_up
from maestro.runtime.snapshots.sources import Source

THAW_AFTER_S: Final = 5.0
BUSY_S: Final = 1.5
"""So long before the others stop waiting for it, it says that it is busy."""
AGAIN_S: Final = 0.5
PartFact = SnapshotPartReady | SnapshotPartTaken | SnapshotPartFailed


Replaced = Callable[[Context, str], Awaitable[tuple[Source, ...]]]
"""Gives the folders that a restore, by its id, is to replace here and that are no agent's workspace."""


class _Late(Exception):
    """The cut has not come while the node held still."""


class NodePart:
    """One part of a snapshot. lasts_s: until when all parts are to be ready, from now on. replaced: see there.

    pause: of the runs here; it is ended with the part, but for a part of a restore that was taken: then it keeps the
    gate closed until the caller ends it.
    """

    def __init__(
        self, context: Context, row: Snapshot, part: Part, incarnation: str, lasts_s: float, replaced: Replaced
    ) -> None:
        assert row.across is not None and context.daemon is not None
        self.id = row.id
        self.restore = row.across.restore
        self.pause: Pause = context.daemon.runs.pause()
        self._context = context
        self._replaced = replaced
        self._daemon = context.daemon
        self._cause = str(row.version)
        self._incarnation = incarnation
        self._whole = part.whole
        self._wanted = SnapshotRequest(
            row.reason,
            agents=part.agents,
            include_logs=row.across.include_logs,
            allow_torn=row.across.allow_torn,
            allow_missing=row.across.allow_missing,
            run=row.run,
            name=row.id,
        )
        self._ready_by = trio.current_time() + lasts_s
        self._thaw_at = self._ready_by + THAW_AFTER_S
        self._position = 0
        self._thawed = False
        self._moved = trio.Event()  # the cut has come, or it comes too late
        self._scope = trio.CancelScope()
        self._broken_off = ""

    def hear(self, event: Event) -> None:
        """Take in an event of the snapshot."""
        match event.fact:
            case SnapshotStarted():
                if not self._thawed and trio.current_time() < self._thaw_at:
                    self._position = event.seq
                    self._moved.set()
                else:
                    self._thaw()
            case SnapshotFailed() | SnapshotTaken():
                self._scope.cancel()
            case SnapshotPartFailed(node=node) if node == self._context.node:
                self._scope.cancel()
            case _:
                pass

    async def take(self) -> None:
        """Do all of it, and append what came of it; nothing where the snapshot is over before."""
        kept = False
        try:
            fact = await self._watched()
            if fact is None and self._broken_off:
                fact = SnapshotPartFailed(self.id, self._context.node, self._broken_off)
            if isinstance(fact, SnapshotPartFailed):
                self.pause.end()
                log.warning("the part of snapshot %s here: %s", self.id, fact.reason)
            if fact is not None:
                await self._tell(fact)
            kept = isinstance(fact, SnapshotPartTaken) and bool(self.restore)
        finally:
            if not kept:
                self.pause.end()

    async def _watched(self) -> SnapshotPartTaken | SnapshotPartFailed | None:
        """The part, None where it was broken off."""
        fact: SnapshotPartTaken | SnapshotPartFailed | None = None
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._thaw_in_time)
                nursery.start_soon(self._mind_the_end)
                try:
                    fact = await self._taken()
                except Exception as error:  # noqa: BLE001 - whatever it is, the others must hear of it
                    fact = SnapshotPartFailed(self.id, self._context.node, _told(error))
                nursery.cancel_scope.cancel()
        return fact

    async def _thaw_in_time(self) -> None:
        await trio.sleep_until(self._thaw_at)
        if not self._position:
            self._thaw()

    def _thaw(self) -> None:
        self._thawed = True
        self.pause.end()
        self._moved.set()

    async def _mind_the_end(self) -> None:
        """Break it off where the daemon is to end: runs that are paused cannot be stopped."""
        await self._daemon.ending.wait()
        self._broken_off = "its daemon is being stopped"
        self.pause.end()
        self._scope.cancel()

    async def _taken(self) -> SnapshotPartTaken:
        """Do the part; outages of the store are waited out: whether it is late by then, the moments tell."""
        insist = self._context.insist
        folders = SnapshotFolders(self._context.settings.home)
        async with self._turn(folders):
            try:
                call = tidying_call(self._context)
                keeping = await insist(partial(self._keeping, call, folders))
                saved = await keeping.save(await insist(partial(keeping.prepare, measure=False)))
                async with folders.turn_lent():
                    await insist(partial(copy_up, call, self.id))
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(folders.sweep)
        return SnapshotPartTaken(
            self.id,
            self._context.node,
            saved.manifest,
            tuple(keeping.workspaces),
            saved.bytes,
            saved.added_bytes,
            tuple(saved.torn),
            tuple(saved.not_held),
            keeping.missing,
        )

    async def _keeping(self, call: Call, folders: SnapshotFolders) -> Keeping:
        more = await self._replaced(self._context, self.restore) if self.restore else ()
        await check_reach(self._context)
        return Keeping(call, msgspec.structs.replace(self._wanted, folders=more), folders, self.id, self)

    @asynccontextmanager
    async def _turn(self, folders: SnapshotFolders) -> AsyncIterator[None]:
        """Hold the right to take a snapshot here. Raises Refused where another one is on for too long."""

        async def wait() -> None:
            log.info("snapshot %s waits for the one that is being taken here", self.id)

        async with AsyncExitStack() as stack:
            with trio.move_on_at(self._ready_by - BUSY_S) as scope:
                await stack.enter_async_context(folders.turn(wait))
            if scope.cancelled_caught:
                raise Refused("a snapshot or a restore of that node alone is under way there")
            yield

    # ---- the moments around the reading ----

    async def rest(self, agents: tuple[str, ...] | None) -> None:
        """See `Moments`."""
        with trio.move_on_at(self._thaw_at) as scope:
            for warning in await self.pause.begin(None if self._whole else agents):
                log.warning("snapshot %s: %s", self.id, warning)
        if scope.cancelled_caught or self._thawed:
            raise _Late

    async def cut(self) -> int:
        """See `Moments`. Say that nothing moves here any more, and wait for the event that the leader appends."""
        await self._tell(SnapshotPartReady(self.id, self._context.node, self._incarnation))
        await self._moved.wait()
        if self._thawed or not self._position:
            raise _Late
        return self._position

    async def quiet(self) -> None:
        """See `Moments`."""

    def let_go(self) -> None:
        """See `Moments`. For a restore nothing begins here before that is over."""
        if self.restore:
            self.pause.thaw()
        else:
            self.pause.end()

    async def _tell(self, fact: PartFact) -> None:
        """Append a fact of this part; outages of the store are waited out, as nobody else can tell it."""
        context = self._context
        while True:
            try:
                await context.append([NewEvent(f"snapshot:{self.id}", fact)], f"node:{context.node}", self._cause)
                return
            except (StoreAway, Unknown) as error:
                if context.gateway.closing:
                    raise
                seldom.warn("the part of a snapshot", error.line())
                await trio.sleep(AGAIN_S)


def _told(error: Exception) -> str:
    if isinstance(error, _Late):
        return LATE
    known = user_error(error)
    return known.line() if known else repr(error)
