"""The planner of a restore: finds out what a restore would change, and changes nothing.

The state goes back to a position. Each workspace that was assigned there comes from the snapshot that was named, or,
where a time was named, from its newest archive at or before that.
"""

from __future__ import annotations

import msgspec
import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import AgentAssigned
from maestro.model.forks.fork import Branch
from maestro.model.ids import shown
from maestro.model.restore import Archived, Fate, fates, mapped, missing
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.type_binding import caller_settings, resolve_type
from maestro.runtime.restores.across.archives import Archives, Named, RecordedOrigin, found
from maestro.runtime.restores.forks.own_places import branch_of
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import Past, look_back
from maestro.runtime.restores.places import check_places
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.restores.stop_reason import is_left_by_restore
from projections.lineage import Line, find_cuts
from replayers import positions
from replayers.checkpoint import same_history
from replayers.registry import check_apart


async def plan(call: Call, wish: RestoreRequest, origins: OpenOrigins, held: Past | None = None) -> RestorePlan:
    """Plan a restore. held: how things were by the snapshot's own log, where that is to be loaded into an empty store.

    Raises NotFound, Invalid; Refused for a snapshot of another history; and what opening a snapshot raises.
    """
    context = call.context
    if wish.source is None and wish.at is None:
        raise Invalid("neither a snapshot nor a time is named", mend="name a snapshot, `latest`, a file, or --at")
    origin = await found(context, origins, wish.source) if wish.source is not None else None
    if origin is not None and held is None:
        await _check_history(context, origin)
    past = held or await _past(context, wish, origin)
    if past.position == 0 and wish.workspace is None:
        await call.note("position 0 is before the first event: all agents, all tasks and all of the state go", "warn")
    archives = await Archives.find(context, origins, origin, past, by_time=wish.at is not None)
    head = await context.call(context.store.log.head)
    away, gone = await _away(context, past, origin)
    planned = RestorePlan(
        to=None if wish.workspace is not None else past.position,
        source=origin.path or origin.name if origin is not None else f"archives at {wish.at}",
        head=head.seq,
        here=context.node,
        is_file=origin is not None and bool(origin.path),
        past=past,
        now={agent.id: agent for agent in await context.rows(context.views.agents)},
        away=away,
        gone=gone,
        loads=held is not None,
        named=origin.name if origin is not None and not isinstance(origin, RecordedOrigin) else "",
        by_time=wish.at is not None,
    )
    planned.branch = await trio.to_thread.run_sync(branch_of, context.settings.home)
    if wish.workspace is not None:
        return await _plan_workspace(call, wish, archives, planned, origins)
    check_apart(((agent.id, agent.node, agent.workspace) for agent in past.agents.values()), planned.source)
    spans = await context.call(lambda: Line(find_cuts(context.store.log, head.floor), head.seq).ranges)
    if held is None:
        planned.undone, planned.regained = missing(spans, past.spans), missing(past.spans, spans)
    planned.fates = fates(planned.now, past.agents)
    relocation = _Relocation(call, origin, planned.loads or wish.loaded)
    for agent in past.agents.values():
        await relocation.place(agent, archives, planned)
    planned.others = _others(context, planned)
    await check_places(call, wish, planned, origins)
    barred = {each.agent: each.root for each in planned.placements if each.is_barred}
    planned.assigned = [fact for fact in planned.assigned if fact.agent not in barred]
    for agent_id, root in barred.items():
        planned.assigned.append(await relocation.assigned(past.agents[agent_id], root, None, planned.away))
    return planned


def _others(context: Context, planned: RestorePlan) -> list[str]:
    """The nodes beside this one that take part: those that are up and put something back, or have agents now."""
    named = {each.node for each, _ in planned.restorable}
    if planned.to is not None:
        named |= {row.node or "" for row in planned.now.values() if row.workspace is not None}
    return sorted(named - {"", context.node} - planned.away)


async def _away(context: Context, past: Past, origin: Named | None) -> tuple[frozenset[str], frozenset[str]]:
    """The nodes of the agents, now and at the position restored to, that are not up: they do not hold their lease. And
    those of them that this log does not know, or does not expect back.
    """
    known = {node.id: node for node in await context.rows(context.views.nodes)}
    named = {*known} | {agent.node for agent in past.agents.values() if agent.node is not None}
    named |= {origin.meta.node} if origin is not None else set()
    named.discard(context.node)
    work = context.store.work
    away = {node for node in named if await context.call(work.lease_holder, f"node:{node}") is None}
    return frozenset(away), frozenset(node for node in away if node not in known or known[node].forgotten)


async def _past(context: Context, wish: RestoreRequest, origin: Named | None) -> Past:
    position = origin.meta.position if origin is not None else 0
    if wish.at is not None:
        position, _ = await context.call(positions.reached, context.store, wish.at)
    return await trio.to_thread.run_sync(look_back, context.store, position)


async def _check_history(context: Context, origin: Named) -> None:
    if isinstance(origin, RecordedOrigin):  # this log tells of it
        return
    meta = origin.meta
    found = await context.call(same_history, context.store, meta.position, meta.chain)
    if found == "other":
        what = f"snapshot {origin.name} is of another history than the log of namespace {context.store.namespace!r}"
        raise Refused(what, mend="restore it with a MAESTRO_NAMESPACE of its own, or after `maestro redis flush`")
    if found == "empty":
        raise Refused("the log is empty", mend="it is loaded by a restore without --workspace and --at")


class _Relocation:
    """Decides where agents' workspaces are put: below the caller's root where the caller set one, and on this node.

    loads: the log comes from the snapshot, so that the nodes that it knows are not expected here.
    """

    def __init__(self, call: Call, origin: Named | None, loads: bool) -> None:
        self._loads = loads
        settings = caller_settings(call)
        self._call = call
        self._node = origin.meta.node if origin is not None else call.context.node
        self._set = settings.sources["workspace_root"] != "default"
        self._root = str(settings.workspace_root)
        self._is_file = origin is not None and bool(origin.path)

    async def place(self, agent: Agent, archives: Archives, planned: RestorePlan) -> None:
        """Plan where an agent's workspace is put, and its assignment where that is another place than it was."""
        here = self._call.context.node
        node = agent.node or self._node
        archived = archives.of(agent.id, agent.workspace) if agent.workspace is not None else None
        if planned.branch is not None and planned.branch.shares(agent):
            await self._place_forked(agent, archived, planned.branch, planned)
            return
        elsewhere = node != here and not self._comes_here(node, archived, planned)
        if elsewhere and self._is_file and agent.workspace is not None:
            archived = archives.of(agent.id, agent.workspace, node)
        away = node in planned.away and not elsewhere
        moves = (away or (self._set and not elsewhere)) and agent.workspace_root != self._root
        root = self._root if moves else agent.workspace_root
        if agent.workspace is None:
            if away:
                planned.assigned.append(await self.assigned(agent, root, None, planned.away))
            return
        target = mapped(agent.workspace, agent.workspace_root, root)
        placement = Placement(agent=agent.id, root=root, workspace=target, recorded=agent.workspace, archived=archived)
        placement.node = node if elsewhere else here
        planned.placements.append(placement)
        placement.why_not = _why_not(placement, archived, planned)
        if archived is None and node in archives.out_of_reach:
            placement.why_not = f"node {node} has archived it: {archives.out_of_reach[node]}"
        if archived is not None and not placement.why_not and (target != agent.workspace or away):
            planned.assigned.append(await self.assigned(agent, root, target, planned.away))

    async def _place_forked(
        self, agent: Agent, archived: Archived | None, branch: Branch, planned: RestorePlan
    ) -> None:
        """Plan where the workspace of an agent from before the fork is put: in the folder of the fork."""
        root, target = branch.runs, None
        if agent.workspace is not None:
            target = branch.place(agent.id)
            placement = Placement(
                agent=agent.id, root=root, workspace=target, recorded=agent.workspace, archived=archived
            )
            placement.node = self._call.context.node
            placement.why_not = _why_not(placement, archived, planned)
            planned.placements.append(placement)
        planned.assigned.append(await self.assigned(agent, root, target, frozenset()))

    def _comes_here(self, node: str, archived: Archived | None, planned: RestorePlan) -> bool:
        """Whether an agent of a node that is not up goes on here: its archive is at hand, and the node gone for good,
        or of another installation.
        """
        if node not in planned.away:
            return False
        return self._loads or self._is_file or node in planned.gone or (archived is not None and not archived.node)

    async def assigned(self, agent: Agent, root: str, workspace: str | None, gone: frozenset[str]) -> AgentAssigned:
        """The assignment of an agent to its place on this node. gone: the nodes that are not up."""
        away = (agent.node or self._node) in gone
        definition = await bound(self._call, agent.type, agent.definition) if away else agent.definition
        node = self._call.context.node if workspace is not None else None
        return AgentAssigned(agent.id, agent.type, definition, root, workspace, agent.role, agent.priority, node)


def _why_not(placement: Placement, archived: Archived | None, planned: RestorePlan) -> str:
    """Why a workspace cannot be put back, as far as that is known here; "" where nothing says so."""
    if archived is None:
        return planned.lacking
    if placement.node in planned.away:
        moves = f"maestro agent assign {placement.agent} --from-snapshot newest --node NODE"
        return f"it is on node {placement.node}, which is away (there: maestro up; to go on elsewhere: {moves})"
    if archived.node == "" and planned.is_file and placement.node != planned.here:
        there = "copy the file there, and restore this workspace on that node"
        return f"it is on node {placement.node}, which has neither {planned.source} nor that snapshot ({there})"
    return ""


async def bound(call: Call, kind: str, recorded: dict[str, object]) -> dict[str, object]:
    """The definition of a type as this machine has it; where it has none, the recorded one. Raises Invalid."""
    try:
        definition, _ = await resolve_type(call, kind)
    except MaestroError as error:
        await call.note(f"type {kind} is taken as it was recorded: {error.line()}", "warn")
    else:
        return definition.to_dict()
    try:
        Definition.from_dict(recorded)
    except (msgspec.ValidationError, MaestroError, TypeError, KeyError) as error:
        raise Invalid(f"type {kind} is not here, and was not recorded as one: {error}", mend="register it") from None
    return recorded


async def _plan_workspace(
    call: Call, wish: RestoreRequest, archives: Archives, planned: RestorePlan, origins: OpenOrigins
) -> RestorePlan:
    """Plan a restore of one workspace, whichever agent had it then. The agents that have it now are stopped
    meanwhile.
    """
    context, workspace = call.context, str(wish.workspace)
    meant = archives.named(workspace, call.caller.cwd, context.node)
    if meant is None:
        what = f"{shown(workspace)} was no workspace of an agent at position {planned.past.position}"
        raise NotFound(what, "--workspace", "restore --dry-run shows all", ("agent", workspace))
    had, path = planned.past.agents.get(meant.agent), meant.workspace
    root = had.workspace_root if had is not None else str(caller_settings(call).workspace_root)
    archived = archives.of(meant.agent, path)
    placement = Placement(agent=meant.agent, root=root, workspace=path, recorded=path, archived=archived)
    if planned.branch is not None and archived is not None and archived.position <= planned.branch.position:
        placement.root, placement.workspace = planned.branch.runs, planned.branch.place(meant.agent)
        had, path = None, placement.workspace
    of_agent = had.node if had is not None and had.workspace == path else None
    placement.node = of_agent or (archived.node if archived else "") or context.node
    holders = _holders(planned, path, placement.node)
    is_at_hand = planned.is_file or (archived is not None and not archived.node)
    if placement.node in planned.away and is_at_hand and not holders:
        placement.node = context.node
        holders = _holders(planned, path, context.node)
    if planned.is_file and placement.node != context.node:
        placement.archived = archived = archives.of(meant.agent, path, placement.node)
    placement.why_not = _why_not(placement, archived, planned)
    planned.placements = [placement]
    planned.others = _others(context, planned)
    await check_places(call, wish, planned, origins)
    planned.fates = [Fate(each.id, "stays", not each.stopped, not each.stopped, each.task) for each in holders]
    planned.waiting = [each.id for each in holders if await is_left_by_restore(context, each)]
    return planned


def _holders(planned: RestorePlan, path: str, node: str) -> list[Agent]:
    """The agents that have their workspace at a path of a node now."""
    return [each for each in planned.now.values() if each.workspace == path and (each.node or planned.here) == node]
