"""The scheduler: the daemon that holds the lease of its namespace decides what runs next, and appends that.

`model/scheduling/schedule.py` decides; this module gives it the time and carries its decisions to the log, under the
fence of the lease.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import NewEvent, RunReleased, TaskDispatched
from maestro.model.scheduling.foresight import after_dispatch
from maestro.model.scheduling.schedule import Decision, decide, next_due
from maestro.runtime.node.clock import Clock, next_second
from maestro.runtime.node.context import ANSWER_S_MAX, APPEND_S_MAX, Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.handover import Rooms
from maestro.runtime.scheduler.merged_appends import LEASE, MergedAppends
from maestro.runtime.scheduler.node_watch import NodeWatch
from maestro.runtime.scheduler.workflows.appends import RunAppends
from maestro.runtime.scheduler.workflows.leader import WorkflowLeader
from maestro.runtime.scheduler.workflows.live_run import LiveRuns
from maestro.store.contract import Append, AppendResult, Committed, Fence, Head, Hint
from maestro.store.waiting_append import unconfirmed

LEASE_TTL_MS = 5000
AWAY_S = 1.0
IDLE_S_MAX = 5.0
LOOK_UP_S = 0.05
"""How long it idles while the follower looks up rows: these change the plan, but not its position."""
HINTS_EVERY_S = 5.0


class _Asked:
    """A dispatch that a command waits for. done, error: how it ended; neither where it is to be appended by itself."""

    def __init__(self, append: Append) -> None:
        self.append = append
        self.answered = trio.Event()
        self.done: Committed | None = None
        self.error: MaestroError | None = None


class Scheduler:
    """The scheduler of one daemon: runs in every daemon, decides in the one that holds the lease.

    context: with the gateway to the log. follower: its plan is decided on. clock: of the server. merged: makes the
    merged appends, and knows whether this daemon leads. rooms: where a run that is released here may begin at once.
    """

    def __init__(self, context: Context, follower: Follower, clock: Clock, merged: MergedAppends, rooms: Rooms) -> None:
        self._turn = trio.Lock()
        self._when_leading: list[Callable[[], None]] = []
        self._nursery: trio.Nursery | None = None  # while it leads, and knows what was decided before it did
        self._store = context.gateway.store
        self._gateway = context.gateway
        self._follower = follower
        self._clock = clock
        self._merged = merged
        self._rooms = rooms
        self._workflows = WorkflowLeader(
            context, follower, clock, RunAppends(follower, self.append, merged.fence.actor)
        )

    @property
    def leading(self) -> bool:
        """Whether this daemon holds the lease: it decides, and does what one daemon of a namespace does for all."""
        return self._merged.leading

    @property
    def fence(self) -> Fence:
        """The fence of this daemon's lease: what is appended under it is refused once another daemon leads."""
        return self._merged.fence

    @property
    def open_runs(self) -> LiveRuns:
        """The open runs of workflows; empty while another daemon leads."""
        return self._workflows.runs

    def when_leading(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time this daemon begins to lead. The listener must not block."""
        self._when_leading.append(listener)

    async def run(self) -> None:
        """Take the lease, lead while this daemon holds it, and try again while another one does. For ever."""
        while True:
            if await self._take_lease():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, nursery.cancel_scope)
                    self._merged.leading = True
                    for listener in self._when_leading:
                        listener()
                    nursery.start_soon(self._lead, nursery)
                    nursery.start_soon(self._keep_hints)
                    nursery.start_soon(self._workflows.run)
                    nursery.start_soon(NodeWatch(self._gateway, self._follower, self.fence).run)
                self._merged.leading, self._nursery = False, None
            await next_second()

    async def _take_lease(self) -> bool:
        try:
            held = await self._gateway.ask(self._store.work.lease_take, LEASE, self.fence.holder, LEASE_TTL_MS)
            if held:
                await self._gateway.ask(self._clock.measure, self._store.now)
        except StoreAway as error:
            seldom.warn("scheduler lease", error.line())
            return False
        return bool(held)

    async def _renew(self, scope: trio.CancelScope) -> None:
        while True:
            await next_second()
            if not await self._take_lease():
                log.warning("the scheduler lease is another daemon's, or the store is away: not deciding")
                scope.cancel()

    async def _lead(self, nursery: trio.Nursery) -> None:
        """Decide whatever is to be decided, once all that the leader before has appended is in the plan."""
        head = await self._head()
        await self._follower.changed(head.seq - 1)
        log.info("this node schedules")
        self._nursery = nursery
        while not self._follower.stopped:
            async with self._turn:
                now = self._clock.now()
                seen = self._follower.seq
                decisions = decide(self._follower.plan, now)
                if decisions:
                    await self._append(decisions)
            if not decisions:
                await self._idle(seen, now)

    async def dispatch(self, events: Sequence[NewEvent], actor: str, cause: str, read_at: int) -> Committed | None:
        """See `Dispatcher.dispatch` of `node/node_daemon.py`."""
        if self._nursery is None or self._follower.stopped or self._turn.locked() or len(events) > 1:
            return None
        asked = _Asked(Append(tuple(events), actor, cause, read_at=read_at))
        self._nursery.start_soon(self._dispatch, asked)  # what has begun is carried out, even if nobody waits for it
        with trio.move_on_after(ANSWER_S_MAX):
            await asked.answered.wait()
            if asked.error is not None:
                raise asked.error
            return asked.done
        raise unconfirmed(ANSWER_S_MAX)

    async def _dispatch(self, asked: _Asked) -> None:
        try:
            async with self._turn:
                fact = asked.append.events[0].fact
                plan = self._follower.plan
                decision = after_dispatch(plan, fact, self._clock.now()) if isinstance(fact, TaskDispatched) else None
                if decision is None:
                    return
                result = await self._release(decision, asked.append)
                if isinstance(result, Committed):
                    asked.done = result
                    await self._follower.changed(result.last - 1)
        except MaestroError as error:
            if asked.done:  # it is in the log; that it cannot be followed is told by the follower
                log.debug("a dispatch is not in the plan: %s", error.line())
            else:
                asked.error = error
        finally:
            asked.answered.set()

    async def append(self, events: Sequence[NewEvent], cause: str) -> AppendResult:
        """Append what this daemon decides as the leader; a task that is dispatched with it begins at once if it can."""
        append = Append(tuple(events), self.fence.actor, cause, fence=self.fence)
        tasks = [event.fact for event in events if isinstance(event.fact, TaskDispatched)]
        if len(tasks) == 1 and self._nursery is not None:
            async with self._turn:
                decision = after_dispatch(self._follower.plan, tasks[0], self._clock.now())
                if decision is not None:
                    result = await self._release(decision, append)
                    if isinstance(result, Committed):
                        await self._follower.changed(result.last - 1)
                    return result
        return await self._gateway.append(append, APPEND_S_MAX)

    async def _release(self, decision: Decision, append: Append) -> AppendResult:
        """Append a decision behind what it follows from. A run that it releases begins at once where there is room."""
        fact = decision.events[0].fact
        dispatched = next((one.fact for one in append.events if isinstance(one.fact, TaskDispatched)), None)
        reserved = self._rooms.reserve(fact, dispatched) if isinstance(fact, RunReleased) else None
        merged = self._merged.with_decision(append, decision, reserved)
        has_begun = False
        try:
            result = await self._gateway.append(merged, prompt=bool(append.events))
            if isinstance(result, Committed) and reserved is not None:
                reserved.begin(result.first + len(append.events))
                has_begun = True
            return result
        finally:
            if reserved is not None and not has_begun:
                reserved.cancel()

    async def _head(self) -> Head:
        while True:
            try:
                return await self._gateway.ask(self._store.log.head)
            except StoreAway as error:
                seldom.warn("scheduler", error.line())
                await trio.sleep(AWAY_S)

    async def _idle(self, seen: int, now: int) -> None:
        due = next_due(self._follower.plan, now)
        idle_s = LOOK_UP_S if self._follower.plan.missing else IDLE_S_MAX
        wait_s = idle_s if due is None else min(idle_s, max(0.001, (due - now) / 1000))
        with trio.move_on_after(wait_s):
            await self._follower.changed(seen)

    async def _append(self, decisions: list[Decision]) -> None:
        """Append all decisions, each by itself, and wait until the plan has them, or what the log took instead."""
        seen = self._follower.seq
        results: list[int] = []

        async def one(decision: Decision) -> None:
            append = Append((), self.fence.actor, decision.cause)
            try:
                result = await self._release(decision, append)
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
        """Put hints that are missing: after a change of leader, a restore, the loss of a stream or of a node."""
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
        """Whether a hint that this node has claimed ("": none has) may still lead to a start."""
        node = self._follower.plan.nodes.get(owner)
        return not owner or (node is not None and node.status == "up")
