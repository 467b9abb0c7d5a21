"""The heartbeat of a node: every 5 s, and at once after an assignment, it samples runs and examines agents.

A heartbeat is a sample with a time to live, not an event; a change of an agent's health is an event. What the samples
hold is told to other programs in `maestro/docs/monitoring.md`.
"""

from __future__ import annotations

import functools
import time

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import AgentAssigned, Event, RunEnded
from maestro.model.health import WORKSPACE, Check, SeenHeartbeat, checks_of, decide_checked
from maestro.model.monitoring.hearing import Hearing
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
        await context.gateway.ask(context.store.work.samples_put, values, SAMPLE_TTL_MS)
        self._hearing.heard(self._clock.now())
        seen = await observe(context, mine)
        settlement = Settlement(context)
        for agent in mine:
            heard = SeenHeartbeat(0.0, self._clock.now())
            sight = msgspec.structs.replace(seen[agent.id], nodes=self._follower.plan.nodes, heartbeat=heard)
            await self._tell_change(agent, await self._settled(settlement, agent, checks_of(agent, sight)))

    async def _look_at_runs(self) -> dict[str, process_usage.Sample]:
        """Sample the processes of all runs that are on here, and have seen how long each stands still."""
        processes = {
            run.entry.run: (run.agent_ids, run.process)
            for run in self._worker.runs.values()
            if run.process is not None and not run.over
        }
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

    async def _tell_change(self, agent: Agent, checks: list[Check]) -> None:
        """Append what the checks change about an agent's health. This node makes all of its checks."""
        events = decide_checked(agent, checks, self._follower.plan.floor)
        if not events:
            return
        bad = [check.detail for check in checks if not check.ok]
        log.info("agent %s is %s %s", agent.id, "unhealthy:" if bad else "healthy", "; ".join(bad))
        await self._context.append(events, f"health:{self._context.node}", f"check:{self._clock.now()}")
