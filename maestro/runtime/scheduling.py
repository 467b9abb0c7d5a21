"""The scheduler loop: one daemon of a namespace holds the lease, decides, and appends under its fence.

`model/schedule.py` decides; this is the shell that gives it the time and carries its decisions to the log.
"""

from __future__ import annotations

import trio

from maestro.model.errors import StoreAway
from maestro.model.node import Node, decide_lost
from maestro.model.schedule import Decision, decide, next_due
from maestro.runtime.clock import Clock
from maestro.runtime.follower import Follower
from maestro.runtime.logs import log, seldom
from maestro.store.contract import Append, Committed, Fence, Head, Hint, Store
from maestro.store.gateway import Gateway

LEASE = "scheduler"
LEASE_TTL_MS = 6000
RENEW_EVERY_S = 1.5
IDLE_S_MAX = 5.0
HINTS_EVERY_S = 5.0
NODES_EVERY_S = 2.0
PATIENCE_S = 6.0
"""How long a node's lease may be missing: more than twice the time in which nodes renew theirs."""


class Scheduler:
    """Runs in every daemon; decides only in the one that holds the lease."""

    def __init__(self, store: Store, gateway: Gateway, follower: Follower, clock: Clock, holder: str) -> None:
        self.leading = False
        self._store = store
        self._gateway = gateway
        self._follower = follower
        self._clock = clock
        self._holder = holder

    @property
    def fence(self) -> Fence:
        """What is appended under it holds only while this daemon leads."""
        return Fence(LEASE, self._holder)

    async def run(self) -> None:
        """Take the lease, lead while it is ours, try again when it is not."""
        while True:
            if await self._take_lease():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, nursery.cancel_scope)
                    self.leading = True
                    nursery.start_soon(self._lead)
                    nursery.start_soon(self._keep_hints)
                    nursery.start_soon(self._watch_nodes)
                self.leading = False
            await trio.sleep(RENEW_EVERY_S)

    async def _take_lease(self) -> bool:
        try:
            held = await self._gateway.ask(self._store.work.lease_take, LEASE, self._holder, LEASE_TTL_MS)
            if held:
                await self._gateway.call(self._clock.measure, self._store.now)
        except StoreAway as error:
            seldom.warn("scheduler lease", error.line())
            return False
        return bool(held)

    async def _renew(self, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(RENEW_EVERY_S)
            if not await self._take_lease():
                log.warning("the scheduler lease is another daemon's, or the store is away: not deciding")
                scope.cancel()

    async def _lead(self) -> None:
        """Decide whatever is to be decided, once all that the leader before us has appended is in the plan."""
        head = await self._head()
        await self._follower.changed(head.seq - 1)
        log.info("this node schedules")
        while not self._follower.stopped:
            now = self._clock.now()
            seen = self._follower.seq
            decisions = decide(self._follower.plan, now)
            if decisions:
                await self._append(decisions)
            else:
                await self._idle(seen, now)

    async def _head(self) -> Head:
        while True:
            try:
                return await self._gateway.ask(self._store.log.head)
            except StoreAway as error:
                seldom.warn("scheduler", error.line())
                await trio.sleep(RENEW_EVERY_S)

    async def _idle(self, seen: int, now: int) -> None:
        due = next_due(self._follower.plan, now)
        wait_s = IDLE_S_MAX if due is None else min(IDLE_S_MAX, max(0.001, (due - now) / 1000))
        with trio.move_on_after(wait_s):
            await self._follower.changed(seen)

    async def _append(self, decisions: list[Decision]) -> None:
        """Append all, each on its own terms, and wait until the plan has folded them (or what beat them)."""
        seen = self._follower.seq
        results: list[int] = []

        async def one(decision: Decision) -> None:
            hints = tuple(Hint(stream, run, event) for stream, run, event in decision.hints)
            append = Append(decision.events, f"scheduler:{self._holder}", decision.cause, hints, self.fence)
            try:
                result = await self._gateway.append(append)
            except StoreAway as error:  # the daemon ends; whoever leads next decides anew
                log.warning("decision on %s: %s", decision.events[0].subject, error.line())
                return
            if isinstance(result, Committed):
                results.append(result.last)
            else:
                log.debug("decision on %s: %s", decision.events[0].subject, result)

        if len(decisions) == 1:
            await one(decisions[0])
        else:
            async with trio.open_nursery() as nursery:
                for decision in decisions:
                    nursery.start_soon(one, decision)
        if results:
            await self._follower.changed(max(results) - 1)
        else:
            with trio.move_on_after(0.2):
                await self._follower.changed(seen)

    async def _keep_hints(self) -> None:
        """Hints are not truth: after a change of leader, a restore, a lost stream or a lost node they are put anew."""
        while not self._follower.stopped:
            try:
                await self._put_missing_hints()
            except StoreAway as error:
                seldom.warn("work hints", error.line())
            await trio.sleep(HINTS_EVERY_S)

    async def _put_missing_hints(self) -> None:
        wanted = self._follower.plan.released_unstarted()
        if not wanted:
            return
        streams = sorted({stream for stream, _, _ in wanted})
        there: set[tuple[str, int]] = set()
        for stream in streams:
            pending = await self._gateway.ask(self._store.work.pending, stream)
            there.update((run, token) for run, owner, token in pending if self._may_start(owner))
        again = [Hint(stream, run, -1, token) for stream, run, token in wanted if (run, token) not in there]
        if again:
            log.info("putting %d work hints again", len(again))
            await self._gateway.ask(self._store.work.put, again)

    def _may_start(self, owner: str) -> bool:
        """Whether a hint in these hands ("": in nobody's) may still come to something."""
        node = self._follower.plan.nodes.get(owner)
        return not owner or (node is not None and node.status == "up")

    async def _watch_nodes(self) -> None:
        """A node whose lease has run out, and is not taken again while the store can be asked, is lost.

        A store that was paused or away has let all leases run out: their nodes get the time to renew them.
        """
        missing_since: dict[str, float] = {}
        while not self._follower.stopped:
            await trio.sleep(NODES_EVERY_S)
            try:
                for node in list(self._follower.plan.nodes.values()):
                    if node.status != "up" or await self._has_lease(node):
                        missing_since.pop(node.id, None)
                    elif trio.current_time() - missing_since.setdefault(node.id, trio.current_time()) > PATIENCE_S:
                        await self._lose(node)
            except StoreAway as error:
                missing_since.clear()
                seldom.warn("node leases", error.line())

    async def _has_lease(self, node: Node) -> bool:
        return await self._gateway.ask(self._store.work.lease_holder, f"node:{node.id}") is not None

    async def _lose(self, node: Node) -> None:
        log.warning("node %s is lost: its lease ran out", node.id)
        events = tuple(decide_lost(node, "its lease ran out"))
        if not events:
            return
        cause = f"lease:{node.incarnation}"
        await self._gateway.append(Append(events, f"scheduler:{self._holder}", cause, (), self.fence))
