"""The membership of a node: its daemon joins, keeps a lease, joins again where it was taken for lost, and leaves.

A node whose lease ran out (cut off, stopped, too busy) is declared lost by the scheduler and gets no work. When it is
back it joins again; what became of its runs meanwhile stands in the log, and its worker obeys that.
"""

from __future__ import annotations

import math
import os
import socket

import trio

from maestro import __version__
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import AnyFact, Event, NewEvent, NodeJoined, NodeLeft, NodeLost
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.merged_appends import LEASE
from maestro.store.contract import Append

RENEW_EVERY_S = 1.5
LEASE_TTL_MS = 6_000
LEAVE_S_MAX = 5.0


class Membership:
    """The membership of one daemon. incarnation: of its start; holder: the name under which it holds leases."""

    def __init__(self, context: Context, follower: Follower, incarnation: str) -> None:
        self.holder = f"{context.node}:{incarnation}"
        self._context = context
        self._follower = follower
        self.incarnation = incarnation
        self.archive = ""
        """As in `NodeJoined`."""
        self._lost = False
        self._lease = f"node:{context.node}"
        follower.listen(self._hear)

    async def join(self) -> None:
        """Join, and take over the lease of this node's earlier daemon, which is dead, as this one holds its lock."""
        context = self._context
        earlier = self._follower.plan.nodes.get(context.node)
        if earlier is not None:
            await self._drop(LEASE, f"{earlier.id}:{earlier.incarnation}")
        await self._renew()
        await self._append(self._joined(), prompt=True)  # who waits for this daemon is told at once why it cannot be

    async def keep(self) -> None:
        """Renew the lease for ever; an outage of the store is waited out."""
        while True:
            try:
                await self._renew()
                if self._lost:
                    self._lost = False
                    log.warning("this node was taken for lost: joining again")
                    await self._append(self._joined())
            except StoreAway as error:
                seldom.warn("node lease", error.line())
            await trio.sleep(RENEW_EVERY_S)

    async def leave(self) -> None:
        """Leave in order. A node with runs that could not be ended does not leave: it and they will be lost."""
        context = self._context
        try:
            if any(live.started and live.node == context.node for live in self._follower.plan.crew.live.values()):
                log.warning("runs of this node are still open: it goes without leaving")
            else:
                await self._append(NodeLeft(context.node, "stopped"), LEAVE_S_MAX)
            await self._drop(LEASE, self.holder)
            await self._drop(self._lease, context.node)
        except MaestroError as error:
            log.warning("leaving: %s", error.line())

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, NodeLost) and event.fact.node == self._context.node:
            self._lost = True

    def _joined(self) -> NodeJoined:
        settings = self._context.settings
        return NodeJoined(
            self._context.node,
            socket.gethostname(),
            self.incarnation,
            os.getpid(),
            settings.max_concurrent,
            __version__,
            str(settings.home),
            settings.node_labels,
            archive=self.archive,
        )

    async def _append(self, fact: AnyFact, deadline_s: float = math.inf, prompt: bool = False) -> None:
        append = Append((NewEvent(self._lease, fact),), f"node:{self._context.node}", f"incarnation:{self.incarnation}")
        await self._context.gateway.append(append, deadline_s, prompt)

    async def _renew(self) -> None:
        work = self._context.store.work
        await self._context.gateway.ask(work.lease_take, self._lease, self._context.node, LEASE_TTL_MS)

    async def _drop(self, lease: str, holder: str) -> None:
        await self._context.gateway.ask(self._context.store.work.lease_drop, lease, holder)
