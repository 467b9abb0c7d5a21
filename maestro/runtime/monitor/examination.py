"""The examination of agents: makes every check that this node can make, and appends what changes an agent's health.

Lists, `agent health`, dispatches and the heartbeat all examine agents here; `maestro.model.health` says what the checks
mean. Agents are looked at in threads: a file system that hangs makes its own agent wait, and no other.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from maestro.model.agent import Agent
from maestro.model.errors import NotFound
from maestro.model.events import NewEvent
from maestro.model.health import (
    NODE,
    Check,
    SeenHeartbeat,
    SeenWorkspace,
    Sight,
    checks_of,
    decide_checked,
    examines,
    verdict,
)
from maestro.model.monitoring.health_rules import HEARTBEAT_S_MAX
from maestro.model.node import Node
from maestro.runtime.monitor.checks import Round, local_sight
from maestro.runtime.node.read_context import ReadContext
from maestro.workspaces.addresses import current

if TYPE_CHECKING:
    from maestro.runtime.node.context import Call

ANSWER_S_MAX = 2.0
SILENT_S_MAX = 30.0
"""A workspace that does not answer for so long is ill: a busy machine is slow, but not that slow."""


async def observe(context: ReadContext, agents: Iterable[Agent]) -> dict[str, Sight]:
    """What this node sees of its agents, by agent. What takes long to be seen is left out, so that the recorded health
    stands meanwhile.
    """
    shared = Round(context.settings, current())
    hanging: dict[str, Sight] = {}
    looks: dict[str, Callable[[], Sight]] = {}
    rows = [msgspec.structs.replace(agent) for agent in agents]  # for the threads: the plan changes its rows in place
    for row in rows:
        since = context.looking.get(row.id)
        waited_s = 0.0 if since is None else time.monotonic() - since
        if waited_s <= ANSWER_S_MAX:
            look = functools.partial(local_sight, row, shared)
            looks[row.id] = functools.partial(_look, context.looking, row.id, look)
        else:  # an earlier look hangs there still, and no second thread is to
            hanging[row.id] = _silent(row) if waited_s > SILENT_S_MAX else Sight()
    found = hanging | await context.together(looks, ANSWER_S_MAX)
    return {
        row.id: msgspec.structs.replace(
            found.get(row.id, Sight()), run=context.seen_runs.get(row.run), store=context.seen_store
        )
        for row in rows
    }


def _silent(agent: Agent) -> Sight:
    """What is seen of an agent whose file system does not answer."""
    problem = f"does not answer for {SILENT_S_MAX:.0f} s"
    if agent.workspace is None:
        return Sight(place=f"{agent.workspace_root} {problem}")
    return Sight(workspace=SeenWorkspace(there=False, problem=problem))


def _look(looking: dict[str, float], agent: str, look: Callable[[], Sight]) -> Sight:
    looking[agent] = time.monotonic()
    try:
        return look()
    finally:
        looking.pop(agent, None)


async def examine_all(
    context: ReadContext, agents: list[Agent], work: Sight | None = None, brief: bool = False
) -> tuple[dict[str, list[Check]], list[dict[str, str] | None]]:
    """Every check of these agents that this node can make, by agent; and the agents' last heartbeats, in
    their order. work: what was seen of their work, where somebody has looked at it. brief: only the verdict counts, so
    that no check is made of an agent of another node that is well and heard. In the past what is recorded stands.
    """
    if context.is_past:
        return {agent.id: [] for agent in agents}, [None] * len(agents)
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    keys = [f"agent:{agent.id}:last_heartbeat" for agent in agents]
    samples = await context.call(context.store.work.samples, keys) if keys else []
    now = await context.now()
    seen = await observe(context, [agent for agent in agents if examines(context.node, agent, nodes)])
    made: dict[str, list[Check]] = {}
    for agent, sample in zip(agents, samples, strict=True):
        age_s = None if sample is None or "at" not in sample else max(0, now - int(sample["at"])) / 1000
        if brief and agent.id not in seen and _is_well(agent, age_s, nodes):
            made[agent.id] = []
            continue
        heard = SeenHeartbeat(age_s, now, context.hearing is not None and not context.hearing.judges(now))
        sight = msgspec.structs.replace(seen.get(agent.id, Sight()), nodes=nodes, heartbeat=heard)
        if work is not None:
            sight = msgspec.structs.replace(sight, outcomes=work.outcomes, queue=work.queue)
        made[agent.id] = checks_of(agent, sight)
    return made, samples


def _is_well(agent: Agent, age_s: float | None, nodes: Mapping[str, Node]) -> bool:
    """Whether all that can be checked of an agent from afar holds, and nothing is recorded that does not."""
    node = nodes.get(agent.node or "")
    is_heard = age_s is not None and age_s < HEARTBEAT_S_MAX
    return is_heard and agent.healthy and not agent.failed_checks and (node is None or node.status != "lost")


def judged(agent: Agent, checks: list[Check]) -> Agent:
    """The agent with the health that these checks give it."""
    found = verdict(agent, checks)
    return msgspec.structs.replace(agent, healthy=found.healthy, failed_checks=list(found.failed), reason=found.reason)


async def refresh(call: Call, agents: Iterable[Agent]) -> dict[str, list[Check]]:
    """Examine those of the agents that belong to this node, and append what has changed; the checks by agent.

    agents: as known now.
    """
    context = call.context
    here = {agent.id: agent for agent in agents if agent.node == context.node}
    # A node that was lost and is back serves at once, not only when the leader has corrected its agents' health.
    was_lost = any(NODE in agent.failed_checks for agent in here.values())
    nodes = {node.id: node for node in await context.rows(context.views.nodes)} if was_lost else {}
    made: dict[str, list[Check]] = {}
    for name, sight in (await observe(context, here.values())).items():
        row = here[name]
        sight = msgspec.structs.replace(sight, nodes=nodes) if NODE in row.failed_checks else sight
        made[name] = checks_of(row, sight)
        if decide_checked(row, made[name]):
            await record(call, name, made[name])
    return made


async def record(call: Call, agent: str, checks: list[Check]) -> None:
    """Append what these checks change about an agent's health. Raises NotFound."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.agent, agent)
        if row is None:
            raise NotFound(f"there is no agent {agent}")
        return decide_checked(row, checks, await context.floor())

    committed = await context.decide(call, decision)
    if committed is not None and context.daemon is not None:
        await context.daemon.follower.changed(committed.last - 1)
