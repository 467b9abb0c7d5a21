"""What restores over several nodes have left pending, and what to do about it: for answers, lists and `doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.model.agent import Agent
from maestro.model.coordination.restore_parts import Restore, RestorePart, superseded, waiting_in
from maestro.model.errors import Refused
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.rows import Row
from projections.lineage import find_cuts

REMEDY = "their agents take nothing until then; start its daemon there (maestro up), which exchanges them first"

NOBODY = "no agent waits for it, as they work elsewhere by now; its next start exchanges them"


class NodeStatus:
    """Whether nodes are up, by their leases."""

    def __init__(self, context: ReadContext) -> None:
        self._context = context

    async def is_up(self, node: str) -> bool:
        """Whether a node holds its lease."""
        return await self._context.call(self._context.store.work.lease_holder, f"node:{node}") is not None


async def pending(context: ReadContext) -> list[tuple[Restore, RestorePart]]:
    """The parts of decided restores that their nodes have yet to exchange; of those that are not given up."""
    rows = [row for row in await context.rows(context.views.restores, "open") if row.pending]
    if not rows:
        return []

    def last_cut() -> int:
        floor = context.store.log.head().floor
        cuts = find_cuts(context.store.log, floor) if floor else []
        return cuts[-1].at if cuts else 0

    cut = await context.call(last_cut)
    gone = {node.id for node in await context.rows(context.views.nodes) if node.forgotten}
    left = [(row, part) for row in rows if not superseded(row, cut) for part in row.pending]
    return [(row, part) for row, part in left if part.node not in gone]


async def told_of(nodes: NodeStatus, row: Restore, part: RestorePart, agents: Mapping[str, Agent]) -> Row:
    """A part that is pending, for a client: whose workspaces, and what to do. agents: all."""
    places = [each.workspace for each in part.placed]
    is_up = await nodes.is_up(part.node)
    waiting = waiting_in(part, agents)
    why = "which has not exchanged them yet" if is_up else "which is away"
    do = "it goes on by itself" if is_up else REMEDY if waiting else NOBODY
    what = f"restore {row.id} is pending for {', '.join(places)} on node {part.node}, {why}: {do}"
    return {"restore": row.id, "node": part.node, "agents": waiting, "workspaces": places, "what": what}


async def waiting_agents(context: ReadContext) -> Mapping[str, str]:
    """The agents that take nothing as their workspaces are not exchanged yet, each with why and what to do."""
    found: dict[str, str] = {}
    nodes = NodeStatus(context)
    left = await pending(context)
    agents = {agent.id: agent for agent in await context.agents()} if left else {}
    for row, part in left:
        told = await told_of(nodes, row, part, agents)
        found |= dict.fromkeys(told["agents"], str(told["what"]))
    return found


async def pending_of(context: ReadContext, agents: Iterable[Agent]) -> Mapping[str, str]:
    """As `waiting_agents`; none are looked for where none of these agents is stopped."""
    return await waiting_agents(context) if any(agent.stopped for agent in agents) else {}


async def check_not_pending(context: ReadContext, agent: str) -> None:
    """Check that an agent's workspace is not one that a restore has yet to exchange, or is about to. Raises Refused."""
    for row in await context.rows(context.views.restores, "open"):
        if row.state == "started" and any(agent in part.agents for part in row.parts):
            raise Refused(f"agent {agent} is stopped for restore {row.id}, which is under way", mend="wait for its end")
    why = (await waiting_agents(context)).get(agent)
    if why:
        raise Refused(f"agent {agent} takes nothing yet: {why}", mend="then try again")
