"""The parts that this node takes of snapshots over several nodes: begun where the log says that their turn has come."""

from __future__ import annotations

import trio

from maestro.model.coordination.snapshot_parts import READY_MS, wanted_of
from maestro.model.errors import MaestroError
from maestro.model.events import (
    Event,
    RestoreDone,
    RestoreFailed,
    RestorePlaced,
    SnapshotFailed,
    SnapshotOpened,
    SnapshotPartFailed,
    SnapshotStarted,
    SnapshotTaken,
)
from maestro.model.snapshot import latest
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.pause import Pause
from maestro.runtime.snapshots.across.node_part import NodePart, Replaced
from maestro.runtime.snapshots.folders import SnapshotFolders


class SnapshotParts:
    """The parts of one daemon. incarnation: of it. replaced: see there.

    A part that a restore needs keeps this node's gate closed until that is over, or `let_go` is called.
    """

    def __init__(self, context: Context, follower: Follower, incarnation: str, replaced: Replaced) -> None:
        self._context = context
        self._replaced = replaced
        self._follower = follower
        self._incarnation = incarnation
        self._parts: dict[str, NodePart] = {}
        self._closed: dict[str, Pause] = {}
        self._begun: list[NodePart] = []
        self._news = trio.Event()
        self._is_taken = False
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        match event.fact:
            case SnapshotOpened() as fact:
                # Not up to `deadline_at` from `event.at`: behind a failover to a store whose clock is behind, events
                # have a later time than its clock has.
                self._begin(fact.snapshot, READY_MS / 1000)
            case SnapshotStarted() | SnapshotPartFailed() | SnapshotFailed() | SnapshotTaken() as fact:
                if fact.snapshot in self._parts:
                    self._parts[fact.snapshot].hear(event)
                if isinstance(fact, SnapshotTaken) and fact.parts:
                    self._is_taken = True
                    self._news.set()
            case RestoreDone() | RestorePlaced() | RestoreFailed() as fact:
                self.let_go(fact.restore)
            case _:
                pass

    def let_go(self, restore: str) -> None:
        """Open the gate that a part of a snapshot for this restore has left closed."""
        pause = self._closed.pop(restore, None)
        if pause is not None:
            pause.end()

    def _begin(self, snapshot: str, lasts_s: float) -> None:
        row = self._follower.plan.works.snapshots.get(snapshot)
        part = wanted_of(row, self._context.node)
        if row is not None and part is not None and snapshot not in self._parts:
            self._parts[snapshot] = NodePart(self._context, row, part, self._incarnation, lasts_s, self._replaced)
            self._begun.append(self._parts[snapshot])
            if self._parts[snapshot].restore:
                self._closed[self._parts[snapshot].restore] = self._parts[snapshot].pause
            self._news.set()

    async def run(self) -> None:
        """Take parts for ever, those first whose turn had come before this daemon started."""
        now = await self._context.insist(self._context.now)
        for row in list(self._follower.plan.works.snapshots.values()):
            if row.across is not None:
                self._begin(row.id, min(max(0, row.across.deadline_at - now), READY_MS) / 1000)
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                while self._begun:
                    nursery.start_soon(self._serve, self._begun.pop())
                if self._is_taken:
                    self._is_taken = False
                    nursery.start_soon(self._point)
                await self._news.wait()

    async def _serve(self, part: NodePart) -> None:
        try:
            await part.take()
        except MaestroError as error:  # the daemon ends
            log.warning("the part of snapshot %s here: %s", part.id, error.line())
        finally:
            del self._parts[part.id]

    async def _point(self) -> None:
        """Let the link `latest` name the newest one."""
        try:
            rows = await self._context.rows(self._context.views.snapshots)
            await trio.to_thread.run_sync(SnapshotFolders(self._context.settings.home).point, latest(rows))
        except (MaestroError, OSError) as error:
            log.warning("the link to the latest snapshot: %s", error)
