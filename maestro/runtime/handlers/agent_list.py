"""The handler of `agent list`, and an agent as commands that change one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maestro.model.agent import Agent
from maestro.model.errors import Invalid, NotFound
from maestro.model.health import why_away
from maestro.model.ids import shown
from maestro.runtime.monitor.examination import examine_all, judged
from maestro.runtime.node.read_context import ReadCall, ReadContext
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores.across.pending import waiting_agents
from maestro.runtime.server.rows import Row, agent_row

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler

STATES = ("all", "active", "idle", "failed", "stopped")


async def find(context: ReadContext, agent: str) -> Agent:
    """The row of one agent. Raises NotFound."""
    row = await context.row(context.views.agent, agent)
    if row is None:
        raise NotFound(
            f"there is no agent {shown(agent)}",
            mend="maestro agent list shows all, maestro agent assign makes one",
            sought=("agent", agent),
        )
    return row


async def shown_agents(context: ReadContext, agents: list[Agent]) -> list[Row]:
    """Agents as the client shows them, examined now, with their last heartbeats."""
    checks, samples = await examine_all(context, agents, brief=True)
    now = await context.now()
    rows = [
        agent_row(judged(agent, checks[agent.id]) if checks[agent.id] else agent, sample, now)
        for agent, sample in zip(agents, samples, strict=True)
    ]
    waiting = await waiting_agents(context) if any(agent.stopped for agent in agents) else {}
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    away = {agent.id: why_away(agent, nodes, context.node) for agent in agents}
    return [row | _shown(row, away[row["id"]], waiting.get(row["id"], "")) for row in rows]


def _shown(row: Row, away: str, waiting: str) -> Row:
    """What of an agent's row is otherwise: where its node is away, or its workspace is to be exchanged."""
    is_failed = away and row["state"] != "stopped"
    return {"state": "failed" if is_failed else row["state"], "reason": waiting or row["reason"] or away or None}


async def answer(call: ReadCall, agent: str) -> p.Done:
    """The answer of a command that changed one agent."""
    row = await find(call.context, agent)
    return p.Done((await shown_agents(call.context, [row]))[0])


async def list_agents(call: ReadCall, command: p.AgentList) -> p.Done:
    """List all agents, or those of a state. Raises Invalid."""
    context = call.context
    if command.status not in STATES:
        raise Invalid(f"status {shown(command.status)} is unknown", mend=f"use one of {', '.join(STATES)}")
    state = None if command.status == "all" else command.status
    for row in await shown_agents(context, await context.agents()):
        if state in (None, row["state"]):
            await call.item(row)
    return p.Done()


HANDLERS: dict[type[p.Command], Handler] = {p.AgentList: list_agents}
