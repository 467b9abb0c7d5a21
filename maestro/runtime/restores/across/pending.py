"""What restores over several nodes have left pending, and what to do about it: for answers, lists and `doctor`."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.model.coordination.restore_parts import Restore, RestorePart, superseded
from maestro.model.errors import Refused
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.rows import Row
from projections.lineage import find_cuts

REMEDY = "their agents take nothing until then; start its daemon there (maestro up), which exchanges them first"


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


async def told_of(nodes: NodeStatus, row: Restore, part: RestorePart) -> Row:
    """A part that is pending, for a client: whose workspaces, and what to do."""
    places = [each.workspace for each in part.placed]
    is_up = await nodes.is_up(part.node)
    why = "which has not exchanged them yet" if is_up else "which is away"
    do = "it goes on by itself" if is_up else REMEDY
    what = f"restore {row.id} is pending for {', '.join(places)} on node {part.node}, {why}: {do}"
    agents = sorted({each.agent for each in part.placed})
    return {"restore": row.id, "node": part.node, "agents": agents, "workspaces": places, "what": what}


async def waiting_agents(context: ReadContext) -> Mapping[str, str]:
    """The agents that take nothing as their workspaces are not exchanged yet, each with why and what to do."""
    found: dict[str, str] = {}
    nodes = NodeStatus(context)
    for row, part in await pending(context):
        what = str((await told_of(nodes, row, part))["what"])
        found |= dict.fromkeys((each.agent for each in part.placed), what)
    return found


async def check_not_pending(context: ReadContext, agent: str) -> None:
    """Check that an agent's workspace is not one that a restore has yet to exchange. Raises Refused."""
    why = (await waiting_agents(context)).get(agent)
    if why:
        raise Refused(f"agent {agent} takes nothing yet: {why}", f"agent {agent}", "start that node, then try again")
