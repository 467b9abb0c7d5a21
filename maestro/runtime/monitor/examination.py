"""The examination of agents: makes every check that this node can make, and appends what changes an agent's health.

Lists, `agent health`, dispatches and the heartbeat all examine agents here; `maestro.model.health` says what the checks
mean. Each agent is looked at in a thread of its own: a file system that hangs makes its own agent wait, and no other.
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
from maestro.model.health import NODE, WORKSPACE, Check, decide_checked, examines, heartbeat_check, node_check, verdict
from maestro.runtime.monitor.checks import local_checks
from maestro.runtime.node.read_context import ReadContext
from maestro.workspaces.addresses import current

if TYPE_CHECKING:
    from maestro.runtime.node.context import Call

ANSWER_S_MAX = 2.0
SILENT_S_MAX = 30.0
"""A workspace that does not answer for so long is ill: a busy machine is slow, but not that slow."""


async def examine(
    context: ReadContext, agents: Iterable[Agent], statuses: Mapping[str, str] | None = None
) -> dict[str, list[Check]]:
    """The checks of this node's agents that only this node can make, by agent.

    statuses: psutil's of the first processes of runs that are on, by agent; None where nobody has looked.
    """
    mounts = current()
    found: dict[str, list[Check]] = {}
    looks: dict[str, Callable[[], list[Check]]] = {}
    for agent in agents:
        row = msgspec.structs.replace(agent)  # a copy for the thread, as the plan changes its rows in place
        status = None if statuses is None else statuses.get(agent.id, "")
        found[agent.id] = []  # nothing is known where a look takes long, so that the recorded health stands meanwhile
        hanging = _hanging(context, agent)
        if hanging is None:
            look = functools.partial(local_checks, row, context.settings, mounts, status)
            looks[agent.id] = functools.partial(_look, context.looking, agent.id, look)
        else:
            found[agent.id] = hanging
    return found | await context.together(looks, ANSWER_S_MAX)


def _hanging(context: ReadContext, agent: Agent) -> list[Check] | None:
    """The checks of an agent at whose workspace an earlier look hangs still, so that no second thread does; None where
    none hangs. One check fails where the file system has not answered for long.
    """
    since = context.looking.get(agent.id)
    waited_s = 0.0 if since is None else time.monotonic() - since
    if waited_s <= ANSWER_S_MAX:
        return None
    where = agent.workspace or agent.workspace_root
    silent = Check(WORKSPACE, False, f"{where} does not answer for {SILENT_S_MAX:.0f} s")
    return [silent] if waited_s > SILENT_S_MAX else []


def _look(looking: dict[str, float], agent: str, look: Callable[[], list[Check]]) -> list[Check]:
    looking[agent] = time.monotonic()
    try:
        return look()
    finally:
        looking.pop(agent, None)


async def examine_all(
    context: ReadContext, agents: list[Agent]
) -> tuple[dict[str, list[Check]], list[dict[str, str] | None]]:
    """Every check of these agents that this node can make, by agent; and the agents' last heartbeats, in
    their order.
    """
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    keys = [f"agent:{agent.id}:last_heartbeat" for agent in agents]
    samples = await context.call(context.store.work.samples, keys) if keys else []
    now = await context.now()
    made = await examine(context, [agent for agent in agents if examines(context.node, agent, nodes)])
    for agent, sample in zip(agents, samples, strict=True):
        age_s = None if sample is None or "at" not in sample else max(0, now - int(sample["at"])) / 1000
        checks = made.setdefault(agent.id, [])
        checks += [node_check(agent, nodes), heartbeat_check(agent, nodes, age_s, now)]
    return made, samples


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
    made = await examine(context, here.values())
    for name, checks in made.items():
        row = here[name]
        if NODE in row.failed_checks:
            checks.append(node_check(row, nodes))
        if decide_checked(row, checks):
            await record(call, name, checks)
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
