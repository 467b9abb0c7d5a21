"""`agent assign --from-snapshot`: every assignment that a snapshot holds, made again as it was.

A workspace that is absent or empty is filled from the snapshot; one in which there is something stays as it is.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Assignment
from maestro.model.errors import MaestroError, Refused
from maestro.model.events import NewEvent, SnapshotWorkspace
from maestro.model.ids import check_id
from maestro.model.restore import mapped
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.forwards.forwarding import forward, is_up
from maestro.runtime.node.resume import resume
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.assignment import assignment_events
from maestro.runtime.provision.place_guard import PlaceGuard
from maestro.runtime.provision.settlement import remember
from maestro.runtime.provision.type_binding import caller_settings
from maestro.runtime.provision.workspace_setup import make_workspace
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.log_loader import held_log
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin, Stage
from maestro.runtime.restores.places import PlaceCheck
from maestro.runtime.restores.planner import bound
from maestro.runtime.restores.rights import restoring
from maestro.workspaces import guards
from replayers import checkpoint
from replayers.registry import RegisteredAgent, Registry


class _Wanted(msgspec.Struct):
    """An assignment to make again. held: its workspace in the snapshot, None where the snapshot does not hold it."""

    assignment: Assignment
    held: SnapshotWorkspace | None


async def put_back(call: Call, source: str, only: Collection[str] = ()) -> list[str]:
    """Assign every agent that a snapshot holds; returns their ids. source: the snapshot, as `OpenOrigins.named` takes
    it. only: some of them, which are this node's; those of other nodes that are up, these put back.

    Raises Refused, Invalid where one of this node's cannot be assigned: then none is.
    """
    context = call.context
    journal = Journal(context.settings.home)
    with OpenOrigins(context) as origins:
        origin = await origins.named(source)
        async with restoring(journal), held_log(origin, journal) as folder:
            registry = await trio.to_thread.run_sync(checkpoint.registry, folder)
        agents = [each for each in registry.agents if not only or each.id in only]
        theirs = {} if only else await _of_others(context, origin, agents)
        elsewhere = {name for names in theirs.values() for name in names}
        registry = msgspec.structs.replace(registry, agents=[each for each in agents if each.id not in elsewhere])
        guard = PlaceGuard(call)
        wanted = await _wanted(call, origin, registry, guard)
        await trio.to_thread.run_sync(
            _check_places, PlaceCheck(call, await _held(context)), wanted, context.settings.home
        )
        for each in wanted:  # a refused assignment makes no folder
            await _decision(call, each.assignment, guard)
        with trio.CancelScope(shield=True):  # all agents are assigned, whoever still listens
            names = await _assign(call, origin, wanted)
    for node, others in theirs.items():
        await forward(call, node, p.AgentsPutBack(source=origin.name, only=tuple(others)), quiet=True)
    return [*names, *elsewhere]


async def _of_others(context: Context, origin: Origin, agents: Sequence[RegisteredAgent]) -> dict[str, list[str]]:
    """The agents of other nodes that are up, by node. Raises Refused where these cannot read the source."""
    found: dict[str, list[str]] = {}
    for agent in agents:
        if agent.node in found or (agent.node not in (None, context.node) and await is_up(context, str(agent.node))):
            found.setdefault(str(agent.node), []).append(agent.id)
    if found and origin.path:
        node, names = next(iter(found.items()))
        what = f"agent {names[0]} belongs to node {node}, which is up, and does not read this file"
        raise Refused(what, mend="name the snapshot by its id, or run this on that node")
    return found


async def _assign(call: Call, origin: Origin, wanted: list[_Wanted]) -> list[str]:
    context = call.context
    await _fill(call, origin, wanted)
    guard = PlaceGuard(call)  # there are folders by now that were not there when it was checked before
    for each in wanted:

        async def decision(assignment: Assignment = each.assignment) -> list[NewEvent]:
            return await _decision(call, assignment, guard)

        async with context.placing:
            committed = await context.decide(call, decision)
            if committed is not None:
                guard.assigned(each.assignment, committed.last)
    names = [each.assignment.agent for each in wanted]
    assigned = set(names)
    agents = [row for row in await context.rows(context.views.agents) if row.id in assigned]
    for agent in agents:
        await remember(context, agent)
    await resume(call, agents, "agents were assigned from a snapshot")
    return names


async def _held(context: Context) -> set[str]:
    """The workspaces of the agents of this node."""
    rows = await context.rows(context.views.agents)
    return {row.workspace for row in rows if row.workspace is not None and row.node in (None, context.node)}


def _check_places(check: PlaceCheck, wanted: list[_Wanted], home: Path) -> None:
    """Check that no two of the agents share a folder, and that none gets a folder of somebody else. Blocks.

    Raises Refused.
    """
    there = [each.assignment for each in wanted if each.assignment.workspace is not None]
    neighbours = guards.Neighbours(
        home, (guards.Claim(each.agent, each.workspace_root, each.workspace) for each in there)
    )
    foreign: list[tuple[str, str]] = []
    for each in there:
        place = str(each.workspace)
        neighbours.check(each.agent, place, each.workspace_root)
        if check.is_foreign(place):
            what = f"{place} is no agent's folder here, lies outside MAESTRO_WORKSPACE_ROOT and is not empty"
            here = f"--node {each.node} --to-workspace {shlex.quote(place)}"
            command = f"maestro agent assign {each.type} --name {each.agent} {here}"
            foreign.append((f"agent {each.agent}: {what}", f"`{command}`"))
    if foreign:
        raise Refused("; ".join(what for what, _ in foreign), mend=f"{', '.join(to for _, to in foreign)}, then again")


async def _wanted(call: Call, origin: Origin, registry: Registry, guard: PlaceGuard) -> list[_Wanted]:
    context = call.context
    settings = caller_settings(call)
    recorded = {kind.slug: kind.definition for kind in registry.types}
    held = {each.agent: each for each in origin.meta.workspaces}
    definitions: dict[str, dict[str, object]] = {}
    found = []
    for agent in registry.agents:
        check_id(agent.id, "agent")
        if agent.type not in definitions:
            definitions[agent.type] = await bound(call, agent.type, recorded.get(agent.type, {}))
        workspace, root = await _place(call, agent, str(settings.workspace_root), guard)
        assignment = Assignment(
            agent.id,
            agent.type,
            definitions[agent.type],
            root,
            workspace,
            agent.role,
            agent.priority,
            context.node if workspace else None,
        )
        found.append(_Wanted(assignment, held.get(agent.id)))
    return found


async def _place(call: Call, agent: RegisteredAgent, root: str, guard: PlaceGuard) -> tuple[str | None, str]:
    """The workspace and the root of workspaces that an agent gets on this node.

    They lie below the caller's root where the caller set one, or where the agent was on another node; else where they
    were. Raises Invalid, Refused.
    """
    context = call.context
    elsewhere = agent.node not in (None, context.node)
    is_set = caller_settings(call).sources["workspace_root"] != "default"
    root = root if elsewhere or is_set else agent.workspace_root
    if agent.workspace is None:
        await guard.check(agent.id, None)
        return None, root
    workspace = mapped(agent.workspace, agent.workspace_root, root)
    return (await guard.check(agent.id, workspace)).workspace, root


async def _decision(call: Call, wanted: Assignment, guard: PlaceGuard) -> list[NewEvent]:
    place = await guard.check(wanted.agent, wanted.workspace)
    return await assignment_events(call, wanted, place)


async def _fill(call: Call, origin: Origin, wanted: list[_Wanted]) -> None:
    """Fill absent and empty workspaces from the snapshot, all or none; warn of those that the snapshot does
    not hold.
    """
    here = [each for each in wanted if each.assignment.workspace is not None]
    empty = [each for each in here if _is_empty(str(each.assignment.workspace))]
    if held := [each for each in empty if each.held is not None]:
        await trio.to_thread.run_sync(_put, call.context.settings.home, origin, held)
    for each in empty:
        if each.held is None:
            what = f"the workspace of {each.assignment.agent} is not in the snapshot: nothing of it is put back"
            await call.note(f"{what} in {each.assignment.workspace}", "warn")
    for each in here:
        try:
            definition = Definition.from_dict(each.assignment.definition)
            await make_workspace(str(each.assignment.workspace), definition)
        except MaestroError as error:
            await call.note(error.line(), "warn")


def _put(home: Path, origin: Origin, wanted: list[_Wanted]) -> None:
    with Journal(home).exchange() as exchange:
        places = [str(each.assignment.workspace) for each in wanted]
        for place in places:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        trees = [each.held.tree for each in wanted if each.held is not None]
        stages = [Stage(tree, path) for tree, path in zip(trees, exchange.stages(places), strict=True)]
        for error in origin.put(stages).values():
            raise error
        exchange.commit()


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
