"""The heartbeat of a node: every 5 s, and at once after an assignment, it samples runs and examines agents.

A heartbeat is a sample with a time to live, not an event; a change of an agent's health is an event. What the samples
hold is told to other programs in `maestro/docs/monitoring.md`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import AgentAssigned, Event, RunEnded
from maestro.model.health import WORKSPACE, Check, SeenHeartbeat, checks_of, decide_checked
from maestro.model.monitoring.disk_room import disk_problem
from maestro.model.monitoring.hearing import Hearing
from maestro.model.monitoring.sights import Sight
from maestro.runtime.monitor.examination import observe
from maestro.runtime.monitor.node_sight import NodeSight
from maestro.runtime.monitor.process_watch import Guarded, ProcessWatch
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.provision.settlement import Settlement
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.worker import process_usage
from maestro.runtime.worker.worker import Worker

EVERY_S = 5.0
SAMPLE_TTL_MS = 120_000
UNCHANGED_S = 15.0
"""So often a heartbeat is written that says what the last one said: it is old after 60 s, and each costs the store."""


class Written:
    """The heartbeats that were written last. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Mapping[str, str], float]] = {}

    def due(self, values: Mapping[str, Mapping[str, str]], now: float) -> dict[str, Mapping[str, str]]:
        """Those that say something new, and those that were written about UNCHANGED_S ago."""
        old = now - UNCHANGED_S + EVERY_S / 2
        found = {}
        for key, value in values.items():
            said, at = self._last.get(key, (None, 0.0))
            if said != value or at < old:
                found[key] = value
        return found

    def note(
        self, values: Mapping[str, Mapping[str, str]], written: Mapping[str, Mapping[str, str]], now: float
    ) -> None:
        """Take note that these were written, and forget all that are not among the values any more."""
        self._last = {key: self._last[key] for key in values.keys() - written.keys()}
        self._last |= {key: (dict(value), now) for key, value in written.items()}


class Well:
    """The agents whose checks all held, with what was seen of them then: the same again means the same, as long as
    nothing was appended. How much room a disk has is no part of that, while it has enough by either limit.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Sight, int]] = {}

    def still(self, agent: str, sight: Sight, seq: int) -> bool:
        """Whether this look needs no checks. seq: of the plan that has the agent's row."""
        found = self._seen.get(agent)
        return found is not None and found[1] == seq and found[0] == _with_room(sight)

    def note(self, agent: str, sight: Sight | None, seq: int) -> None:
        """Take note of what was seen of an agent whose checks hold; None: one does not, or its health has changed."""
        seen = None if sight is None else _with_room(sight)
        if seen is None:
            self._seen.pop(agent, None)
        else:
            self._seen[agent] = (seen, seq)

    def keep(self, agents: Iterable[str]) -> None:
        """Forget all other agents."""
        self._seen = {agent: self._seen[agent] for agent in agents if agent in self._seen}


def _with_room(sight: Sight) -> Sight | None:
    """What was seen, without how much room there is; None where that might matter."""
    disk = sight.disk
    if disk is not None and (disk.problem or disk_problem(disk, failed_before=True)[0]):
        return None
    return msgspec.structs.replace(sight, disk=None)


class Heartbeat:
    """The heartbeat of one daemon, for agents that belong to its node or run there; the leader's for free ones too."""

    def __init__(
        self, context: Context, worker: Worker, follower: Follower, scheduler: Scheduler, clock: Clock
    ) -> None:
        self._context = context
        self._worker = worker
        self._follower = follower
        self._scheduler = scheduler
        self._clock = clock
        self._thread = trio.CapacityLimiter(1)
        self._settled_at: dict[str, int] = {}  # by agent: the time of the assignment whose workspace is there
        self._watch = ProcessWatch()
        self._node = NodeSight(context)
        self._hearing = context.hearing = Hearing()
        self._written = Written()
        self._well = Well()
        self._news = trio.Event()
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        """Have the heartbeat come at once after an assignment here, and after the end of an unhealthy agent's run."""
        match event.fact:
            case AgentAssigned(node=node) if node == self._context.node:
                self._news.set()
            case RunEnded(agent=agent) if (row := self._follower.plan.agents.get(agent)) and not row.healthy:
                self._news.set()
            case _:
                pass

    async def run(self) -> None:
        """Sample runs and examine agents every 5 s, for ever; an outage of the store is waited out."""
        while True:
            self._news = trio.Event()
            try:
                await self._beat()
            except StoreAway as error:
                self._hearing.away()
                self._written = Written()
                seldom.warn("heartbeat", error.line())
            with trio.move_on_after(EVERY_S):
                await self._news.wait()

    async def _beat(self) -> None:
        context = self._context
        samples = await self._look_at_runs()
        mine = self._mine()
        values = {f"agent:{agent.id}:last_heartbeat": self._value(agent, samples.get(agent.run)) for agent in mine}
        await self._node.look()
        values[f"node:{context.node}:seen"] = self._node.value
        await self._write(values)
        self._hearing.heard(self._clock.now())
        seen = await observe(context, mine)
        settlement = Settlement(context)
        for agent in mine:
            row, seq = seen[agent.id], self._follower.seq
            if self._well.still(agent.id, row, seq):
                continue
            heard = SeenHeartbeat(0.0, self._clock.now())
            sight = msgspec.structs.replace(row, nodes=self._follower.plan.nodes, heartbeat=heard)
            checks = await self._settled(settlement, agent, checks_of(agent, sight))
            is_told = await self._tell_change(agent, checks)
            self._well.note(agent.id, row if all(check.ok for check in checks) and not is_told else None, seq)
        self._well.keep(agent.id for agent in mine)

    async def _write(self, values: dict[str, dict[str, str]]) -> None:
        now = trio.current_time()
        due = self._written.due(values, now)
        await self._context.gateway.ask(self._context.store.work.samples_put, due, SAMPLE_TTL_MS)
        self._written.note(values, due, now)

    async def _look_at_runs(self) -> dict[str, process_usage.Sample]:
        """Sample the processes of all runs that are on here, and have seen how long each stands still."""
        processes = {
            run.entry.run: (run.agent_ids, run.process)
            for run in self._worker.runs.values()
            if run.process is not None and not run.over
        }
        if not processes:  # as nearly always at most nodes, and a thread costs more than all that follows
            self._context.seen_runs = self._watch.look({}, {}, time.monotonic())
            return process_usage.sample({})
        pids = {run: process.pid for run, (_, process) in processes.items()}
        held = self._held()
        samples = await trio.to_thread.run_sync(process_usage.sample, pids, limiter=self._thread)
        held |= self._held()  # Maestro itself has paused these runs: a stopped process is no failure
        guarded = {
            run: Guarded(process.spec.log, process.spec.silent_s, not held.isdisjoint(agents))
            for run, (agents, process) in processes.items()
        }
        look = functools.partial(self._watch.look, samples, guarded, time.monotonic())
        self._context.seen_runs = await trio.to_thread.run_sync(look, limiter=self._thread)
        return samples

    async def _settled(self, settlement: Settlement, agent: Agent, checks: list[Check]) -> list[Check]:
        """The checks of an agent, once its new workspace has been made, or found to be there."""
        if agent.workspace is None or agent.node != self._context.node or any(not check.ok for check in checks):
            return checks
        assigned_at = agent.assigned_at
        if self._settled_at.get(agent.id) == assigned_at:
            return checks
        try:
            await settlement.settle(agent)
            self._settled_at[agent.id] = assigned_at
        except MaestroError as error:
            log.warning("workspace of agent %s: %s", agent.id, error.line())
            failed = Check(WORKSPACE, False, error.line(), mend=error.mend or "")
            return [check for check in checks if check.name != WORKSPACE] + [failed]
        return checks

    def _held(self) -> set[str]:
        runs = self._worker.runs.values()
        return {agent for run in runs for agent in run.agent_ids if self._worker.gate.held(agent)}

    def _mine(self) -> list[Agent]:
        """The agents that this node examines: two nodes that see different things would contradict each other."""
        here = {run.agent_id for run in self._worker.runs.values()}
        return [agent for agent in self._follower.plan.agents.values() if self._is_mine(agent, agent.id in here)]

    def _is_mine(self, agent: Agent, runs_here: bool) -> bool:
        if agent.node is not None or agent.run:
            return runs_here or agent.node == self._context.node
        return self._scheduler.leading

    def _value(self, agent: Agent, tree: process_usage.Sample | None) -> dict[str, str]:
        value = {"node": self._context.node, "run": agent.run}
        if tree is not None:
            value["memory_bytes"] = str(tree.memory_bytes)
            value["cpu_percent"] = f"{tree.cpu_percent:.1f}"
            value["processes"] = str(tree.processes)
            value["status"] = tree.status
        return value

    async def _tell_change(self, agent: Agent, checks: list[Check]) -> bool:
        """Append what the checks change about an agent's health, if anything. This node makes all of its checks."""
        events = decide_checked(agent, checks, self._follower.plan.floor)
        if not events:
            return False
        bad = [check.detail for check in checks if not check.ok]
        log.info("agent %s is %s %s", agent.id, "unhealthy:" if bad else "healthy", "; ".join(bad))
        await self._context.append(events, f"health:{self._context.node}", f"check:{self._clock.now()}")
        return True
