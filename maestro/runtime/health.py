"""The heart of a node's agents: each 5 s it samples the runs and checks the agents.

A heartbeat is a sample with a time to live, not an event; a change of an agent's health is an event.
"""

from __future__ import annotations

import trio

from maestro.model.agent import Agent
from maestro.model.errors import StoreAway
from maestro.model.events import AgentHealthChanged, NewEvent
from maestro.runtime import trees
from maestro.runtime.checks import Check, local_checks
from maestro.runtime.clock import Clock
from maestro.runtime.context import Context
from maestro.runtime.follower import Follower
from maestro.runtime.logs import log, seldom
from maestro.runtime.scheduling import Scheduler
from maestro.runtime.worker import Worker

EVERY_S = 5.0
SAMPLE_TTL_MS = 120_000


class Health:
    """Runs in every daemon, for the agents of its node or on it; where it schedules, for free ones too."""

    def __init__(
        self, context: Context, worker: Worker, follower: Follower, scheduler: Scheduler, clock: Clock
    ) -> None:
        self._context = context
        self._worker = worker
        self._follower = follower
        self._scheduler = scheduler
        self._clock = clock
        self._thread = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Beat for ever; an outage of the store is waited out."""
        while True:
            try:
                await self._beat()
            except StoreAway as error:
                seldom.warn("heartbeat", error.line())
            await trio.sleep(EVERY_S)

    async def _beat(self) -> None:
        pids = {run.entry.run: run.pid for run in self._worker.runs.values()}
        held = self._held()
        samples = await trio.to_thread.run_sync(trees.sample, pids, limiter=self._thread)
        held |= self._held()  # Maestro itself has stopped them: that is no illness
        for agent in self._mine():
            tree = samples.get(agent.run)
            await self._put_sample(agent, tree)
            checks = await trio.to_thread.run_sync(
                local_checks, agent, tree.status if tree and agent.id not in held else "", limiter=self._thread
            )
            await self._tell_change(agent, checks)

    def _held(self) -> set[str]:
        runs = self._worker.runs.values()
        return {run.agent_id for run in runs if self._worker.holds.held(run.agent_id)}

    def _mine(self) -> list[Agent]:
        """Each agent is looked at by one node only, else two that see different things would contradict each other."""
        here = {run.agent_id for run in self._worker.runs.values()}
        return [agent for agent in self._follower.plan.agents.values() if self._is_mine(agent, agent.id in here)]

    def _is_mine(self, agent: Agent, runs_here: bool) -> bool:
        if agent.node is not None or agent.run:
            return runs_here or agent.node == self._context.node
        return self._scheduler.leading

    async def _put_sample(self, agent: Agent, tree: trees.Sample | None) -> None:
        value = {"node": self._context.node, "run": agent.run}
        if tree is not None:
            value["memory_bytes"] = str(tree.memory_bytes)
            value["cpu_percent"] = f"{tree.cpu_percent:.1f}"
            value["processes"] = str(tree.processes)
            value["status"] = tree.status
        key = f"agent:{agent.id}:last_heartbeat"
        await self._context.gateway.ask(self._context.store.work.sample_put, key, value, SAMPLE_TTL_MS)

    async def _tell_change(self, agent: Agent, checks: list[Check]) -> None:
        failed = tuple(check.name for check in checks if not check.ok)
        if (not failed) == agent.healthy:
            return
        reason = "; ".join(check.detail for check in checks if not check.ok)
        change = AgentHealthChanged(agent.id, not failed, failed, reason)
        event = NewEvent(f"agent:{agent.id}", change, max(agent.version, self._follower.plan.floor))
        log.info("agent %s is %s %s", agent.id, "unhealthy:" if failed else "healthy", reason)
        await self._context.append([event], f"health:{self._context.node}", f"check:{self._clock.now()}")
