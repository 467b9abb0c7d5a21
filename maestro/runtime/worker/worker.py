"""The worker: claims hints from its node's stream and the shared one, and carries out the runs behind them; and those
that begin here with their release, for which it reserves room.

A hint is only a hint. The truth is `run.started`, appended at the released version before the spawn; what was
cancelled, restored or delivered twice fails there and is dropped.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import (
    AgentStopped,
    Event,
    RestoreDone,
    RunEnded,
    RunReleased,
    TaskCancelRequested,
    TaskDispatched,
)
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import told
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.pause import Pause, StartGate
from maestro.runtime.server.sockets import RunSockets
from maestro.runtime.worker.execution import Execution
from maestro.runtime.worker.launcher_client import LauncherClient
from maestro.runtime.worker.reservation import Reservation
from maestro.store.contract import Fence, WorkEntry

CLAIM_BLOCK_MS = 2000
AWAY_RETRY_S = 0.3
ACKNOWLEDGE_AFTER_S = 0.02


class Worker:
    """At most `max_concurrent` runs at once, each in a task of its own.

    fence: of the scheduler, while this daemon leads; what it would decide may be appended under it. departing: a
    signal has asked for the end of the daemon.
    """

    def __init__(self, context: Context, follower: Follower, launcher: LauncherClient, clock: Clock) -> None:
        self.context = context
        self.follower = follower
        self.launcher = launcher
        self.clock = clock
        self.runs: dict[str, Execution] = {}
        self.holds = StartGate()
        self.draining = self.departing = False
        self.low_disk = False
        self.actor = f"worker:{context.node}"
        self.fence: Callable[[], Fence | None] = lambda: None
        self.sockets = RunSockets(context)
        self._definitions: dict[str, tuple[object, Definition]] = {}
        self._nursery: trio.Nursery | None = None
        self._freed = trio.lowlevel.ParkingLot()
        self._over: list[WorkEntry] = []
        self._is_over = trio.lowlevel.ParkingLot()
        follower.listen(self._hear)

    async def run(self) -> None:
        """Claim and execute until the daemon ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge)
            await nursery.start(self.sockets.serve)
            self._nursery = nursery
            while True:
                if not self._room():
                    with trio.move_on_after(1.0):
                        await self._freed.park()
                    continue
                for entry in await self._claim(self._room()):
                    await self._take(entry, nursery)

    def _room(self) -> int:
        """For how many more runs."""
        if self.draining or self.low_disk or self.follower.stopped:
            return 0
        return max(0, self.context.settings.max_concurrent - sum(not run.log.ended for run in self.runs.values()))

    async def _take(self, entry: WorkEntry, nursery: trio.Nursery) -> None:
        if not self._room() and not entry.stream and not self.draining:
            with contextlib.suppress(StoreAway):  # room was reserved while this was being claimed
                await self.context.gateway.ask(self.context.store.work.put_back, [entry])
            return
        while not self._room() and not self.draining:
            with trio.move_on_after(1.0):
                await self._freed.park()
        if self.draining:
            return  # it stays claimed, for this node's next daemon; if none comes, it is put again
        if entry.run in self.runs:
            self._drop(entry)
            return
        running = Execution(self, entry)
        self.runs[entry.run] = running
        nursery.start_soon(self.execute, running)

    def reserve(self, fact: RunReleased, dispatched: TaskDispatched | None) -> Reservation | None:
        """Room for a run that is about to be released to this node, None where it must wait for a hint."""
        agent = self.follower.plan.agents.get(fact.agent)
        if agent is None or fact.shared or fact.node != self.context.node or fact.run in self.runs:
            return None
        if self._nursery is None or not self._room() or self.holds.held(agent.id):
            return None
        try:
            reserved = Reservation(self, fact, agent, self._nursery)
        except MaestroError:  # its ids name no folder: that is told where it is started from a hint
            return None
        dispatched = dispatched or self.follower.dispatched(fact.task)
        if dispatched is not None and isinstance(dispatched.prompt, str):
            self._nursery.start_soon(reserved.furnish, dispatched.prompt)
        return reserved

    def forget(self, running: Execution) -> None:
        """The run is not here, or not any more."""
        self.runs.pop(running.entry.run, None)
        self._freed.unpark_all()

    async def _claim(self, free: int) -> list[WorkEntry]:
        try:
            return await self.context.gateway.wait(
                self.context.store.work.claim, self.context.node, free, CLAIM_BLOCK_MS
            )
        except StoreAway as error:
            seldom.warn("claiming", error.line())
            await trio.sleep(AWAY_RETRY_S)
            return []

    async def execute(self, running: Execution) -> None:
        """Carry out a run to its end, which gets into the log whatever happens here."""
        entry = running.entry
        try:
            if await self._is_known(entry):
                await running.execute()
        except Exception as error:  # noqa: BLE001 - one run's defect must not end the others
            known = told(error)
            why = known.line() if known else f"defect: {error!r}"
            log.error("run %s: %s", entry.run, why, exc_info=None if known else error)
            await running.log.abandon(running.agent_id, why)
        finally:
            running.through_the_door()
            self.forget(running)
            self._drop(entry)

    async def _is_known(self, entry: WorkEntry) -> bool:
        """Whether the log has the event that the hint names; returns once it is in the plan."""
        if not entry.entry:
            await self.follower.changed(entry.token)  # what began without a hint has begun right behind its release
            return True
        if entry.token > self.follower.seq:
            head = await self.context.insist(lambda: self.context.gateway.ask(self.context.store.log.head))
            if entry.token > head.seq:
                log.warning("dropped a hint for run %s: there is no event %d", entry.run, entry.token)
                return False
        await self.follower.changed(entry.token - 1)
        return True

    def _drop(self, entry: WorkEntry) -> None:
        if not entry.entry:
            return
        self._over.append(entry)
        self._is_over.unpark()

    async def _acknowledge(self) -> None:
        """Acknowledge what is over, several at a time: a hint that stays claimed would count as one worked on."""
        while True:
            if not self._over:
                await self._is_over.park()
            await trio.sleep(ACKNOWLEDGE_AFTER_S)
            entries, self._over = self._over, []
            with contextlib.suppress(StoreAway):
                await self.context.insist(
                    functools.partial(self.context.gateway.ask, self.context.store.work.done, entries)
                )

    def definition(self, agent: Agent) -> Definition:
        """How to run this agent, read once for as long as its row has the same."""
        source, known = self._definitions.get(agent.id, (None, None))
        if known is None or source is not agent.definition:
            known = Definition.from_dict(agent.definition)
            self._definitions[agent.id] = (agent.definition, known)
        return known

    def _hear(self, event: Event) -> None:
        """Cancels, stops and restores reach the runs that they mean; a run ended by others is stopped too."""
        match event.fact:
            case TaskCancelRequested(task=task, reason=reason):
                for running in self._of(task=task):
                    running.stop(f"cancelled: {reason}" if reason else "cancelled")
            case AgentStopped(agent=agent, reason=reason, force=force):
                for running in self._of(agent=agent):
                    running.stop(reason or "agent stopped", force=force)
            case RestoreDone():
                for running in list(self.runs.values()):
                    running.stop("restored", force=True)
            case RunEnded(run=run) if run in self.runs:
                if event.actor == self.actor:
                    self.runs[run].log.ended = True  # its room is free before its last lines are done
                else:
                    self.runs[run].stop("ended by the scheduler", force=True)
            case _:
                pass

    def _of(self, task: str = "", agent: str = "") -> list[Execution]:
        return [r for r in self.runs.values() if (r.task_id == task if task else r.agent_id == agent)]

    def stop_all(self, reason: str, force: bool, grace_s: float | None = None, lost: bool = False) -> None:
        """Stop every run that is on here; lost: so that it is run again."""
        for running in list(self.runs.values()):
            running.stop(reason, force, grace_s, lost)

    def stillness(self) -> Pause:
        """A way to hold the runs here still."""
        return Pause(self.holds, lambda: list(self.runs.values()))

    async def empty(self, agent: str = "") -> None:
        """Return when no run (of that agent) is on here."""
        while self._of(agent=agent) if agent else self.runs:
            await self._freed.park()
