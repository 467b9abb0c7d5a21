"""The planner of a restore: finds out what a restore would change, and changes nothing.

The state goes back to a position. Each workspace that was assigned there comes from the snapshot that was named, or,
where a time was named, from its newest archive at or before that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import AgentAssigned, SnapshotWorkspace
from maestro.model.ids import shown
from maestro.model.restore import Archived, Fate, fates, mapped, missing, newest
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.type_binding import caller_settings, resolve_type
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin
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
    origin = await origins.named(wish.source) if wish.source is not None else None
    if origin is not None and held is None:
        await _check_history(context, origin)
    past = held or await _past(context, wish, origin)
    if past.position == 0 and wish.workspace is None:
        await call.note("position 0 is before the first event: all agents, all tasks and all of the state go", "warn")
    archives = await _Archives.find(context, origin, past, by_time=wish.at is not None)
    head = await context.call(context.store.log.head)
    planned = RestorePlan(
        to=None if wish.workspace is not None else past.position,
        source=origin.path or origin.name if origin is not None else f"archives at {wish.at}",
        head=head.seq,
        past=past,
        now={agent.id: agent for agent in await context.rows(context.views.agents)},
        away=await _away(context, past, origin),
        loads=held is not None,
        named=origin.name if origin is not None else "",
        by_time=wish.at is not None,
    )
    if wish.workspace is not None:
        return await _plan_workspace(call, wish, archives, planned, origins)
    check_apart(((agent.id, agent.node, agent.workspace) for agent in past.agents.values()), planned.source)
    spans = await context.call(lambda: Line(find_cuts(context.store.log, head.floor), head.seq).ranges)
    if held is None:
        planned.undone, planned.regained = missing(spans, past.spans), missing(past.spans, spans)
    planned.fates = fates(planned.now, past.agents)
    relocation = _Relocation(call, origin)
    for agent in past.agents.values():
        await relocation.place(agent, archives, planned)
    await check_places(call, wish, planned, origins)
    barred = {each.agent: each.root for each in planned.placements if each.is_barred}
    planned.assigned = [fact for fact in planned.assigned if fact.agent not in barred]
    for agent_id, root in barred.items():
        planned.assigned.append(await relocation.assigned(past.agents[agent_id], root, None, planned.away))
    return planned


async def _away(context: Context, past: Past, origin: Origin | None) -> frozenset[str]:
    """The nodes of the agents, now and at the position restored to, that are not up: they do not hold their lease."""
    named = {node.id for node in await context.rows(context.views.nodes)}
    named |= {agent.node for agent in past.agents.values() if agent.node is not None}
    named |= {origin.meta.node} if origin is not None else set()
    named.discard(context.node)
    work = context.store.work
    return frozenset([node for node in named if await context.call(work.lease_holder, f"node:{node}") is None])


async def _past(context: Context, wish: RestoreRequest, origin: Origin | None) -> Past:
    position = origin.meta.position if origin is not None else 0
    if wish.at is not None:
        position, _ = await context.call(positions.reached, context.store, wish.at)
    return await trio.to_thread.run_sync(look_back, context.store, position)


async def _check_history(context: Context, origin: Origin) -> None:
    meta = origin.meta
    found = await context.call(same_history, context.store, meta.position, meta.chain)
    if found == "other":
        what = f"snapshot {origin.name} is of another history than the log of namespace {context.store.namespace!r}"
        raise Refused(what, mend="restore it with a MAESTRO_NAMESPACE of its own, or after `maestro redis flush`")
    if found == "empty":
        raise Refused("the log is empty", mend="it is loaded by a restore without --workspace and --at")


class _Archives:
    """The archives that workspaces can come from.

    by_time: a workspace comes from its newest archive at or before the position restored to, else from the named
    snapshot.
    """

    def __init__(self, held: Sequence[Archived], past: Past, by_time: bool) -> None:
        self._held = held
        self._by_place: dict[tuple[str, str], list[Archived]] = {}
        for each in held:
            self._by_place.setdefault((each.held.agent, each.held.workspace), []).append(each)
        self._past = past
        self._by_time = by_time

    @classmethod
    async def find(cls, context: Context, origin: Origin | None, past: Past, by_time: bool) -> _Archives:
        """The archives of the named snapshot, and for a time those of all other snapshots of this node."""
        held = [Archived(origin.name, each) for each in origin.meta.workspaces] if origin is not None else []
        for row in await context.rows(context.views.snapshots) if by_time else ():
            if row.lies_on(context.node):
                held.extend(Archived(row.id, each) for each in row.workspaces)
        return cls(held, past, by_time)

    def of(self, agent: str, workspace: str) -> Archived | None:
        """The archive that an agent's workspace comes from, None where there is none."""
        fitting = self._by_place.get((agent, workspace), [])
        if self._by_time:
            return newest(agent, workspace, fitting, self._past.position, self._is_on_line)
        return fitting[0] if fitting else None

    def named(self, name: str, cwd: str) -> SnapshotWorkspace | None:
        """The workspace that a user means by an agent's id or by a path, also where no agent has it.

        A path is compared as it is written first: a workspace may be a link by now.
        """
        path = Path(cwd, name)
        for meant in (os.path.normpath(path), os.path.realpath(path)):
            for agent in self._past.agents.values():
                if agent.workspace is not None and (name == agent.id or meant == agent.workspace):
                    return SnapshotWorkspace(agent.id, agent.workspace, "", 0)
            for each in self._held:
                if name == each.held.agent or meant == each.held.workspace:
                    return each.held
        return None

    def _is_on_line(self, position: int) -> bool:
        return any(first <= position <= last for first, last in self._past.spans)


class _Relocation:
    """Decides where agents' workspaces are put: below the caller's root where the caller set one, and on this node."""

    def __init__(self, call: Call, origin: Origin | None) -> None:
        settings = caller_settings(call)
        self._call = call
        self._node = origin.meta.node if origin is not None else call.context.node
        self._set = settings.sources["workspace_root"] != "default"
        self._root = str(settings.workspace_root)

    async def place(self, agent: Agent, archives: _Archives, planned: RestorePlan) -> None:
        """Plan where an agent's workspace is put, and its assignment where that is another place than it was."""
        here = self._call.context.node
        node = agent.node or self._node
        away = node in planned.away
        moves = (self._set or away) and agent.workspace_root != self._root
        root = self._root if moves else agent.workspace_root
        if agent.workspace is None:
            if away:
                planned.assigned.append(await self.assigned(agent, root, None, planned.away))
            return
        target = mapped(agent.workspace, agent.workspace_root, root)
        archived = archives.of(agent.id, agent.workspace)
        placement = Placement(agent=agent.id, root=root, workspace=target, recorded=agent.workspace, archived=archived)
        planned.placements.append(placement)
        if node != here and not away:
            placement.why_not = f"it is on node {node}; run this there"
        elif archived is None:
            placement.why_not = planned.lacking
        elif target != agent.workspace or away:
            planned.assigned.append(await self.assigned(agent, root, target, planned.away))

    async def assigned(self, agent: Agent, root: str, workspace: str | None, gone: frozenset[str]) -> AgentAssigned:
        """The assignment of an agent to its place on this node. gone: the nodes that are not up."""
        away = (agent.node or self._node) in gone
        definition = await bound(self._call, agent.type, agent.definition) if away else agent.definition
        node = self._call.context.node if workspace is not None else None
        return AgentAssigned(agent.id, agent.type, definition, root, workspace, agent.role, agent.priority, node)


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
    call: Call, wish: RestoreRequest, archives: _Archives, planned: RestorePlan, origins: OpenOrigins
) -> RestorePlan:
    """Plan a restore of one workspace, whichever agent had it then. The agents that have it now are stopped
    meanwhile.
    """
    context, workspace = call.context, str(wish.workspace)
    found = archives.named(workspace, call.caller.cwd)
    if found is None:
        what = f"{shown(workspace)} was no workspace of an agent at position {planned.past.position}"
        raise NotFound(what, "--workspace", "restore --dry-run shows all", ("agent", workspace))
    had, path = planned.past.agents.get(found.agent), found.workspace
    root = had.workspace_root if had is not None else str(caller_settings(call).workspace_root)
    placement = Placement(
        agent=found.agent, root=root, workspace=path, recorded=path, archived=archives.of(found.agent, path)
    )
    if placement.archived is None:
        placement.why_not = planned.lacking
    elif had is not None and had.node not in (None, context.node, *planned.away):
        placement.why_not = f"it is on node {had.node}; run this there"
    holders = [each for each in planned.now.values() if each.workspace == path]
    planned.placements = [placement]
    await check_places(call, wish, planned, origins)
    planned.fates = [Fate(each.id, "stays", not each.stopped, not each.stopped, each.task) for each in holders]
    planned.waiting = [each.id for each in holders if await is_left_by_restore(context, each)]
    return planned
