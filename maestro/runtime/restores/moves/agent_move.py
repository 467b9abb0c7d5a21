"""The move of an agent whose node is away: its workspace is put on this node from the newest archive of it.

What the other node has of it is never touched: it stays there, and `workspace list` shows it as stranded. The agent is
assigned in the append that ends its run there, so that its task goes on here; a folder that was filled before that and
is not its own yet is no agent's, and not empty: the command says so when it is repeated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from maestro.model.agent import Agent, Assignment
from maestro.model.assignment import check_left_behind
from maestro.model.coordination.newest_archive import newest_of
from maestro.model.errors import NotFound, Refused
from maestro.model.events import NewEvent, SnapshotWorkspace
from maestro.model.ids import shown
from maestro.model.placement import Home, left_since
from maestro.model.restore import mapped
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import APPEND_S_MAX, Call, Context
from maestro.runtime.node.forwards.forwarding import is_up
from maestro.runtime.node.patience import patiently
from maestro.runtime.node.resume import resume
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.assignment import assignment_events
from maestro.runtime.provision.place_guard import CheckedPlace, PlaceGuard
from maestro.runtime.provision.settlement import remember
from maestro.runtime.provision.type_binding import caller_settings
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin, Stage
from maestro.runtime.restores.planner import bound
from maestro.runtime.server.rows import when
from projections.lineage import Line, find_cuts

NEWEST = "newest"


class _Found(NamedTuple):
    """The archive that a workspace comes from. about: it in words; taken_at: server ms, 0 where that is not known."""

    origin: Origin
    held: SnapshotWorkspace
    about: str
    taken_at: int


async def move(call: Call, agent: Agent, command: p.AgentMove) -> None:
    """Put an agent's workspace on this node, and assign the agent to it.

    Raises Refused, NotFound, VerificationFailed.
    """
    context = call.context
    nodes = {row.id: row for row in await context.rows(context.views.nodes)}
    check_left_behind(agent, nodes, context.node, agent.node is not None and await is_up(context, agent.node))
    with OpenOrigins(context) as origins:
        found = await _find(call, agent, command.source, origins)
        settings = caller_settings(call)
        root = str(settings.workspace_root)
        wanted = command.to_workspace or mapped(str(agent.workspace), agent.workspace_root, root)
        guard = PlaceGuard(call)
        place = await guard.check(agent.id, wanted)
        await trio.to_thread.run_sync(_check_empty, str(place.workspace), agent)
        definition = await bound(call, agent.type, agent.definition)
        assignment = Assignment(
            agent.id, agent.type, definition, root, place.workspace, agent.role, agent.priority, context.node
        )
        await assignment_events(call, assignment, place)  # a refused one makes no folder
        call.patient = True
        # What is put there gets its agent, whoever still listens, and behind an outage of the store, too.
        with trio.CancelScope(shield=True), patiently(APPEND_S_MAX):
            await trio.to_thread.run_sync(_put, Journal(context.settings.home), found, str(place.workspace))
            await _assign(call, assignment, place)
    rows = await context.rows(context.views.homes, "moved")
    older = left_since(next((row for row in rows if row.agent == agent.id), None), agent, found.taken_at)
    where = " and ".join(f"in {at} on node {node}" for at, node in _folders(agent, older))
    left = f"what came after it is {where} alone, and stays there as it is"
    on = "goes on"
    here = nodes.get(context.node)
    if here is not None and here.drained:
        on = f"waits until `maestro node drain {here.id} --undo`, and goes on then,"
    await call.note(f"agent {agent.id} {on} from {found.about}; {left}", "info" if on == "goes on" else "warn")


def _folders(agent: Agent, older: Sequence[Home]) -> list[tuple[str, str]]:
    return [(str(agent.workspace), str(agent.node)), *((home.workspace, home.node) for home in older)]


async def _find(call: Call, agent: Agent, source: str, origins: OpenOrigins) -> _Found:
    """The archive to take. Raises NotFound where there is none; Refused where it is out of reach."""
    context = call.context
    if source != NEWEST:
        origin = await origins.named(source)
        held = next((each for each in origin.meta.workspaces if each.agent == agent.id), None)
        if held is None:
            what = f"snapshot {origin.name} does not hold the workspace of agent {agent.id}"
            raise NotFound(what, "--from-snapshot", "maestro state snapshots lists others")
        row = await context.row(context.views.snapshot, origin.name)
        return _Found(origin, held, f"snapshot {origin.name}", row.taken_at if row is not None else 0)
    rows = await context.rows(context.views.snapshots)
    head = await context.call(context.store.log.head)
    line = Line(await context.call(find_cuts, context.store.log, head.floor))
    uncopied: list[str] = []
    for row, held in newest_of(rows, agent, line.holds):
        try:
            found = await _opened(context, agent, origins, row, held)
        except NotFound:  # its node went away before it was copied
            uncopied.append(row.id)
            continue
        if uncopied:
            newer = ", ".join(uncopied)
            await call.note(f"newer, but not in the shared archive: {newer}, on node {held.node or row.node}", "warn")
        return found
    what = f"no snapshot {'that is copied to the shared archive ' if uncopied else ''}holds the workspace of agent"
    raise NotFound(f"{what} {agent.id}", "--from-snapshot", f"to begin with an empty one: {_anew(context, agent)}")


async def _opened(
    context: Context, agent: Agent, origins: OpenOrigins, row: Snapshot, held: SnapshotWorkspace
) -> _Found:
    """An archive in reach. Raises NotFound where it was not copied; Refused where it is out of reach."""
    node = held.node or row.node
    try:
        origin = await origins.snapshot(row.id, node)
    except Refused as error:
        what = f"the newest archive of agent {agent.id}, in {row.id}, is out of reach: {error.what}"
        mend = (
            f"start the daemon of node {node} (maestro up), or begin with an empty workspace: {_anew(context, agent)}"
        )
        raise Refused(what, error.where, mend) from None
    age_s = max(0, await context.now() - row.taken_at) // 1000
    kind = f"automatic, {row.reason}" if row.automatic else row.reason
    return _Found(origin, held, f"snapshot {row.id} of {when(row.taken_at)}, {_age(age_s)} old ({kind})", row.taken_at)


def _anew(context: Context, agent: Agent) -> str:
    return f"maestro agent assign {agent.type} --name {agent.id} --node {context.node} --to-workspace <folder>"


def _age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


async def _assign(call: Call, assignment: Assignment, place: CheckedPlace) -> None:
    context = call.context
    guard = PlaceGuard(call)  # there is a folder by now that was not there

    async def decision() -> list[NewEvent]:
        return await assignment_events(call, assignment, await guard.check(assignment.agent, place.workspace))

    async with context.placing:
        await context.decide(call, decision)
    row = await context.row(context.views.agent, assignment.agent)
    assert row is not None
    await remember(context, row)
    await resume(call, [row], f"agent {row.id} was moved from a node that is away")


def _put(journal: Journal, found: _Found, place: str) -> None:
    """Stage the tree, checking each byte, and put it where nothing is, or an empty folder. Blocks."""
    with journal.exchange() as exchange:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        (stage,) = exchange.stages([place])
        for error in found.origin.put([Stage(found.held.tree, stage)]).values():
            raise error
        exchange.commit()


def _check_empty(place: str, agent: Agent) -> None:
    try:
        with os.scandir(place) as entries:
            filled = next(entries, None) is not None
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refused(f"{shown(place)}: {error.strerror}", "workspace", "name another with --to-workspace") from None
    if filled:
        what = f"{place} is not empty, so that nothing is put there for agent {agent.id}"
        raise Refused(what, "workspace", "name another folder with --to-workspace, or move away what is in it")
