"""The node watch of the leader: a node whose lease has run out is lost, with its runs and its agents' health.

`model/node.py` and `model/health.py` decide; this module looks at the leases and appends what they decide.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.coordination.releases import awaited
from maestro.model.errors import StoreAway
from maestro.model.events import NewEvent
from maestro.model.health import SeenHeartbeat, Sight, checks_of, decide_checked, decide_health_by_nodes
from maestro.model.monitoring.health_rules import HEARTBEAT_S_MAX
from maestro.model.monitoring.hearing import Hearing
from maestro.model.node import Node, decide_lost
from maestro.runtime.node.clock import next_second
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.membership import LEASE_TTL_MS
from maestro.store.contract import Append, Fence
from maestro.store.gateway import Gateway

HEARTBEATS_EVERY_S = 10.0
PATIENCE_S = 4.0
"""How long the lease of a node may be missing: more than twice the time in which nodes renew theirs."""


class NodeWatch:
    """The node watch of the daemon that leads. fence: what it appends under, and by whom."""

    def __init__(self, gateway: Gateway, follower: Follower, fence: Fence) -> None:
        self._gateway = gateway
        self._follower = follower
        self._fence = fence
        self._hearing = Hearing()
        self._agreed_at = (0, 0)  # the plan by which no agent's health contradicted its node

    async def run(self) -> None:
        """Record as lost the nodes whose leases have run out, and are not taken again while the store can be asked.

        A store that was paused or away has let all leases run out: their nodes get the time to renew them.
        """
        missing_since: dict[str, float] = {}
        listened_at = trio.current_time()
        has_older_views = True
        while not self._follower.stopped:
            await next_second()
            try:
                nodes = list(self._follower.plan.nodes.values())
                leased = await self._leased([node.id for node in nodes if node.status == "up"])
                for node in nodes:
                    if node.status != "up" or node.id in leased:
                        missing_since.pop(node.id, None)
                    elif trio.current_time() - missing_since.setdefault(node.id, trio.current_time()) > PATIENCE_S:
                        await self._lose(node)
                await self._tell_agents()
                plan = self._follower.plan
                if has_older_views and not awaited(plan.nodes, plan.clock):
                    await self._gateway.call(self._gateway.store.views.drop_older)
                    has_older_views = False
                if trio.current_time() > listened_at + HEARTBEATS_EVERY_S:
                    listened_at = trio.current_time()
                    await self._listen()
            except StoreAway as error:
                missing_since.clear()
                self._hearing.away()
                seldom.warn("node leases", error.line())

    async def _leased(self, nodes: list[str]) -> set[str]:
        """Those of the nodes that hold their leases."""
        work = self._gateway.store.work
        holders = await self._gateway.ask(work.lease_holders, [f"node:{node}" for node in nodes], LEASE_TTL_MS)
        return {node for node, holder in zip(nodes, holders, strict=True) if holder is not None}

    async def _lose(self, node: Node) -> None:
        """Append that the node is lost and its agents unhealthy: in one append, so that nobody sees half of it."""
        plan = self._follower.plan
        lost = msgspec.structs.replace(node, status="lost")
        agents = [agent for agent in plan.agents.values() if agent.node == node.id]
        ill = decide_health_by_nodes(agents, {node.id: lost}, plan.floor)
        events = [*decide_lost(node, "its lease ran out", plan.floor), *ill]
        log.warning("node %s is lost: its lease ran out", node.id)
        await self._append(events, f"lease:{node.incarnation}")

    async def _tell_agents(self) -> None:
        """Append the health of agents that contradicts their node: after a restore, or when the node is back."""
        plan = self._follower.plan
        looked_at = (plan.seq, plan.floor)
        if looked_at == self._agreed_at:
            return
        events = decide_health_by_nodes(list(plan.agents.values()), plan.nodes, plan.floor)
        if not events:
            self._agreed_at = looked_at
        await self._append(events, f"nodes:{plan.seq}")

    async def _listen(self) -> None:
        """Make unhealthy the agents of which their node, though it is up, has sent no heartbeat for long.

        A look at a folder of theirs may hang there. Not so where the store was away, or this node stood still, until
        just now: then nobody could be heard; nor while their node holds still for a snapshot.
        """
        plan, store = self._follower.plan, self._gateway.store
        agents = [agent for agent in plan.agents.values() if agent.node not in (None, *plan.crew.still)]
        samples = await self._gateway.ask(store.work.samples, [f"agent:{agent.id}:last_heartbeat" for agent in agents])
        now = await self._gateway.ask(store.now)
        self._hearing.heard(now)
        deaf = not self._hearing.judges(now)
        events: list[NewEvent] = []
        for agent, sample in zip(agents, samples, strict=True):
            age_s = None if sample is None or "at" not in sample else max(0, now - int(sample["at"])) / 1000
            if age_s is not None and age_s < HEARTBEAT_S_MAX and not _is_lost(agent, plan.nodes):
                continue  # nothing fails, and that it is heard again its node tells itself
            checks = checks_of(agent, Sight(nodes=plan.nodes, heartbeat=SeenHeartbeat(age_s, now, deaf)))
            failed = [check for check in checks if not check.ok]
            events += decide_checked(agent, failed, plan.floor)
        await self._append(events, f"heartbeats:{plan.seq}")

    async def _append(self, events: list[NewEvent], cause: str) -> None:
        """Append and wait until the plan has the events; what another was faster with is looked at again next time."""
        if not events:
            return
        result = await self._gateway.append(Append(tuple(events), self._fence.actor, cause, (), self._fence))
        last = getattr(result, "last", None)
        if last is not None:
            await self._follower.changed(last - 1)


def _is_lost(agent: Agent, nodes: Mapping[str, Node]) -> bool:
    node = nodes.get(agent.node or "")
    return node is not None and node.status == "lost"
