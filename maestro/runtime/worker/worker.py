"""The worker of a node: claims runs from the work streams and executes them, also those that are handed to it directly.

A hint in a work stream is only a hint. The truth is `run.started`, appended at the released version before the program
is launched; what was cancelled, restored or delivered twice fails there and is dropped. What the scheduler of this node
releases to it may begin without a hint, in room that the worker reserves (`node/handover.py`).
"""

from __future__ import annotations

import functools
from math import inf

import trio

from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import (
    AgentHealthChanged,
    AgentStopped,
    Event,
    RestoreDone,
    RunEnded,
    RunReleased,
    TaskCancelRequested,
    TaskDispatched,
)
from maestro.model.scheduling.sites import ground_of
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.handover import Failsafe, Reserved, TaskEnds
from maestro.runtime.node.patience import patiently
from maestro.runtime.node.pause import Pause, StartGate
from maestro.runtime.server.sockets import RunSockets
from maestro.runtime.worker.execution import Execution
from maestro.runtime.worker.launcher_client import LauncherClient
from maestro.runtime.worker.programs import Stop
from maestro.runtime.worker.reservation import Reservation
from maestro.runtime.worker.run_services import Definitions, RunServices
from maestro.store.contract import WorkEntry

CLAIM_BLOCK_MS = 2000
AWAY_RETRY_S = 0.3
ACKNOWLEDGE_AFTER_S = 0.02


class Worker:
    """The worker of one daemon: executes at most `max_concurrent` runs at once, each in a task of its own.

    task_ends: what may be appended with the end of a run. failsafe: guards workspaces. runs: those that are on here, by
    id, of reserved ones, too. draining: no more runs are taken. departing: a signal has asked for the daemon's end.
    low_disk: the disk of the embedded store is nearly full, so that no more runs are taken.
    """

    def __init__(
        self,
        context: Context,
        follower: Follower,
        launcher: LauncherClient,
        task_ends: TaskEnds,
        failsafe: Failsafe,
    ) -> None:
        self.runs: dict[str, Execution] = {}
        self.gate = StartGate()
        self.draining = self.departing = False
        self.low_disk = False
        self._context = context
        self._follower = follower
        self._sockets = RunSockets(context)
        self._services = RunServices(
            context=context,
            follower=follower,
            launcher=launcher,
            sockets=self._sockets,
            gate=self.gate,
            definitions=Definitions(),
            task_ends=task_ends,
            actor=f"worker:{context.node}",
            departing=lambda: self.departing,
            failsafe=failsafe,
            evaluator=Evaluator(),
            furnishing=trio.Lock(),
        )
        self._nursery: trio.Nursery | None = None
        self._freed = trio.lowlevel.ParkingLot()
        self._done: list[WorkEntry] = []
        self._has_done = trio.lowlevel.ParkingLot()
        follower.listen(self._hear)

    async def run(self) -> None:
        """Claim runs and execute them until the daemon ends."""
        async with self._services.evaluator, trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge)
            await nursery.start(self._sockets.serve)
            self._nursery = nursery
            while True:
                if not self._room():
                    with trio.move_on_after(1.0):
                        await self._freed.park()
                    continue
                for entry in await self._claim(self._room()):
                    await self._take(entry)

    def _room(self) -> int:
        """How many more runs may be taken now."""
        if self.draining or self.low_disk or self._follower.stopped:
            return 0
        return max(0, self._context.settings.max_concurrent - sum(not run.log.ended for run in self.runs.values()))

    @property
    def _takes_any(self) -> bool:
        """Whether runs may be taken that any node could take: not on one that is being drained."""
        node = self._follower.plan.nodes.get(self._context.node)
        return node is None or not node.drained

    async def _take(self, entry: WorkEntry) -> None:
        """Have the run behind a claimed hint executed, once there is room for it."""
        if not entry.stream and not self.draining and not (self._room() and self._takes_any):
            await self._put_back(entry)  # room was reserved, or the node drained, while this was being claimed
            return
        while not self._room() and not self.draining:
            with trio.move_on_after(1.0):
                await self._freed.park()
        if self.draining:
            return  # it stays claimed, for this node's next daemon; if none comes, it is put again
        if entry.run in self.runs:
            self._drop(entry)
            return
        execution = self.runs[entry.run] = Execution(self._services, entry)
        self._start(execution)

    async def _put_back(self, entry: WorkEntry) -> None:
        """Have the hint claimed again, by whichever node has room for it."""
        try:
            await self._context.gateway.ask(self._context.store.work.put_back, [entry])
        except StoreAway as error:  # it stays claimed, for this node's next daemon
            seldom.warn("putting a hint back", error.line())

    def reserve(self, fact: RunReleased, dispatched: TaskDispatched | None) -> Reserved | None:
        """See `Rooms.reserve`."""
        plan = self._follower.plan
        agent, asked = plan.crew.agent(fact.agent), plan.tasks.get(fact.task) or dispatched
        site = None if agent is None or asked is None else plan.crew.site(ground_of(asked), agent)
        if agent is None or site is None or fact.shared or fact.node != self._context.node or fact.run in self.runs:
            return None
        if self._nursery is None or not self._room() or any(map(self.gate.held, (agent.id, site.owner))):
            return None
        try:
            reserved = Reservation(self._services, fact, (agent, site), self._start, self._forget)
        except MaestroError as error:  # told to the user where the run is started from a hint
            log.debug("no room is reserved for run %s: %s", fact.run, error.line())
            return None
        self.runs[fact.run] = reserved.execution
        dispatched = dispatched or self._follower.dispatched(fact.task)
        if dispatched is not None and isinstance(dispatched.prompt, str):
            self._nursery.start_soon(reserved.furnish, dispatched, dispatched.prompt)
        return reserved

    def _forget(self, execution: Execution) -> None:
        """Give the room of a run to others."""
        self.runs.pop(execution.entry.run, None)
        self._freed.unpark_all()

    async def _claim(self, free: int) -> list[WorkEntry]:
        try:
            return await self._context.gateway.wait(
                self._context.store.work.claim, self._context.node, free, CLAIM_BLOCK_MS, self._takes_any
            )
        except StoreAway as error:
            seldom.warn("claiming", error.line())
            await trio.sleep(AWAY_RETRY_S)
            return []

    def _start(self, execution: Execution) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._execute, execution)

    async def _execute(self, execution: Execution) -> None:
        """Execute a run to its end, which gets into the log whatever happens here."""
        entry = execution.entry
        try:
            if await self._is_known(entry):
                with patiently(inf):  # what has started must not end for want of one answer of the store
                    await execution.execute()
        except Exception as error:  # noqa: BLE001 - one run's defect must not end the others
            known = user_error(error)
            why = known.line() if known else f"defect: {error!r}"
            log.error("run %s: %s", entry.run, why, exc_info=None if known else error)
            await execution.log.abandon(execution.agent_id, why)
        finally:
            execution.leave()
            self._forget(execution)
            self._drop(entry)

    async def _is_known(self, entry: WorkEntry) -> bool:
        """Whether the log has the release that a hint names; returns once that is in the plan."""
        if not entry.entry:
            await self._follower.changed(entry.token)  # what began without a hint has begun right behind its release
            return True
        if entry.token > self._follower.seq:
            head = await self._context.insist(lambda: self._context.gateway.ask(self._context.store.log.head))
            if entry.token > head.seq:
                log.warning("dropped a hint for run %s: there is no event %d", entry.run, entry.token)
                return False
        await self._follower.changed(entry.token - 1)
        return True

    def _drop(self, entry: WorkEntry) -> None:
        """Have a hint acknowledged soon; nothing for a run that began without one."""
        if not entry.entry:
            return
        self._done.append(entry)
        self._has_done.unpark()

    async def _acknowledge(self) -> None:
        """Acknowledge hints that are done, several at a time: one that stays claimed would count as worked on."""
        work = self._context.store.work
        while True:
            if not self._done:
                await self._has_done.park()
            await trio.sleep(ACKNOWLEDGE_AFTER_S)
            entries, self._done = self._done, []
            try:
                await self._context.insist(functools.partial(self._context.gateway.ask, work.done, entries))
            except StoreAway as error:  # the daemon ends; the next one drops them, as their runs have ended
                log.debug("%d hints are not acknowledged: %s", len(entries), error.line())

    def _hear(self, event: Event) -> None:
        """Stop the runs that a cancel, a stop, a restore, or an end that was not appended here means."""
        match event.fact:
            case TaskCancelRequested(task=task, reason=reason):
                self._stop(self._of(task=task), Stop(f"cancelled: {reason}" if reason else "cancelled"))
            case AgentStopped(agent=agent, reason=reason, force=force):
                self._stop(self._of(agent=agent), Stop(reason or "agent stopped", force))
            case AgentHealthChanged(run=run, by_run=True, reason=reason) if run in self.runs:
                self.runs[run].end_unhealthy(reason)  # not for what lies around it: a full disk, an unsafe store
            case RestoreDone():
                self._stop(self._of(), Stop("restored", force=True))
            case RunEnded(run=run) if run in self.runs:
                if event.actor == self._services.actor:
                    self.runs[run].log.ended = True  # its room is free before its last lines are done
                else:
                    self._stop([self.runs[run]], Stop("ended by the scheduler", force=True))
            case _:
                pass

    def _of(self, task: str = "", agent: str = "") -> list[Execution]:
        """The runs of a task, or of an agent; without either all."""
        runs = self.runs.values()
        return [run for run in runs if (not task or run.task_id == task) and (not agent or agent in run.agent_ids)]

    def _stop(self, runs: list[Execution], stop: Stop, lost: bool = False) -> None:
        for run in runs:
            run.programs.stop(stop, lost)

    # ---- what commands and the daemon ask of it: `LocalRuns` of `node/node_daemon.py` ----

    def drain(self) -> None:
        """Take no more runs."""
        self.draining = True

    def count(self) -> int:
        """How many runs are on here."""
        return len(self.runs)

    def tasks(self) -> list[str]:
        """The ids of the tasks with a run on here."""
        return sorted({run.task_id for run in self.runs.values()})

    def stop_all(self, reason: str, force: bool = False, grace_s: float | None = None, lost: bool = False) -> None:
        """Stop every run that is on here. lost: so that it is run again."""
        self._stop(self._of(), Stop(reason, force, grace_s), lost)

    def pause(self) -> Pause:
        """A pause of the runs that are on here, not begun yet."""
        return Pause(self.gate, self._of)

    async def empty(self, agent: str = "") -> None:
        """Return when no run of an agent ("": of any) is on here."""
        while self._of(agent=agent):
            await self._freed.park()
