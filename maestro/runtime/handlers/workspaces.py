"""The handlers of `workspace list|clean`: where the agents work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.placement import stranded
from maestro.runtime.handlers.agent_list import find
from maestro.runtime.handlers.agents import stop_agent
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.forwards.forwarding import ask, forward, why_unseen
from maestro.runtime.node.interim_stop import stopped_meanwhile
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.workspace_setup import check_clearable, check_unmounted, lies_elsewhere
from maestro.runtime.restores.remains import remains
from maestro.runtime.server.id_prefixes import check_whole_agent
from maestro.runtime.server.rows import Row, when
from maestro.runtime.snapshots.deletion import clear
from maestro.workspaces.folders import is_folder
from maestro.workspaces.usage import size_of

ANSWER_S_MAX = 10.0
"""How long other nodes have for the account of their workspaces."""
_UNSEEN: Row = {"exists": None, "files": None, "bytes": None, "left": []}


async def list_workspaces(call: Call, command: p.WorkspaceList) -> p.Done:
    """List the assigned workspaces with their sizes; each node looks at its own, all of them at once."""
    context = call.context
    agents = [agent for agent in await context.agents() if agent.workspace is not None]
    homes = [Home(agent.id, str(agent.node), str(agent.workspace)) for agent in agents]
    homes += await _left(context, agents)
    if command.node:
        homes = [home for home in homes if home.node == context.node]
    there: dict[str, list[Row]] = {}
    silent: dict[str, str] = {}
    elsewhere = {home.node for home in homes} - {context.node}
    with trio.move_on_after(ANSWER_S_MAX):
        async with trio.open_nursery() as nursery:
            for node in elsewhere:
                silent[node] = f"node {node} does not answer"
                nursery.start_soon(_ask, call, node, there, silent)
            here = await _seen_here(context, [home for home in homes if home.node == context.node])
    for home in homes:
        rows = here if home.node == context.node else there.get(home.node, [])
        key = home.agent, home.workspace
        seen = next((row for row in rows if (row["agent"], row["workspace"]) == key), _UNSEEN)
        if home.stranded and seen["exists"] is False:
            continue
        told = {"agent": home.agent, "workspace": home.workspace, "node": home.node}
        left = {"stranded": home.stranded, "left_at": when(home.left_at)}
        await call.item({**told, **left, **{key: seen[key] for key in _UNSEEN}, "why": silent.get(home.node)})
    return p.Done()


class Home(NamedTuple):
    """A folder on a node that an agent works in; or has left there, when it moved to another node (stranded).

    left_at: server ms, 0 where it is not left, or a restore has taken the agent back.
    """

    agent: str
    node: str
    workspace: str
    stranded: bool = False
    left_at: int = 0


async def _left(context: Context, agents: Sequence[Agent]) -> list[Home]:
    """The folders that agents have left on nodes which are not given up, as they moved to other nodes."""
    rows = await context.rows(context.views.homes, "moved")
    if not rows:
        return []
    nodes = {node.id for node in await context.rows(context.views.nodes) if not node.forgotten}
    return [Home(agent, left.node, left.workspace, True, left.until) for agent, left in stranded(rows, agents, nodes)]


async def _seen_here(context: Context, homes: Sequence[Home]) -> list[Row]:
    """What is in folders on this node."""

    def look() -> list[Row]:
        left = remains(context.settings.home)
        rows: list[Row] = []
        for home in homes:
            workspace = home.workspace
            exists = is_folder(workspace)
            files, size = size_of(workspace) if exists else (None, None)
            paths = [each.path for each in left if each.target == workspace]
            row = {"agent": home.agent, "workspace": workspace, "exists": exists, "files": files, "bytes": size}
            rows.append({**row, "left": paths})
        return rows

    return await trio.to_thread.run_sync(look)


async def _ask(call: Call, node: str, there: dict[str, list[Row]], silent: dict[str, str]) -> None:
    """Ask another node for its workspaces; why it has said nothing stays in `silent`."""
    try:
        answer = await ask(call, node, p.WorkspaceList(node=node), quiet=True)
    except MaestroError as error:
        silent[node] = why_unseen(error, node)
        return
    if answer.failed is not None:
        silent[node] = answer.failed.what
    else:
        there[node] = answer.items
        del silent[node]


async def clean(call: Call, command: p.WorkspaceClean) -> p.Done:
    """Stop an agent, take a snapshot, then empty its workspace. It stays stopped until it is restarted or assigned."""
    context = call.context
    await check_whole_agent(context, command.agent, "workspace clean")
    agent = await find(context, command.agent)
    if lies_elsewhere(context, agent):
        return await forward(call, str(agent.node), command)
    workspace = check_clearable(context, agent)
    await check_unmounted(context, agent)
    async with stopped_meanwhile(call, agent, "workspace clean"):
        await stop_agent(call, agent.id, force=False, reason="workspace clean")
        deleted = await clear(call, agent, "clean")
    if not agent.stopped:
        await call.note(f"agent {agent.id} is stopped now: maestro agent restart {agent.id} has it take work again")
    before = deleted.snapshot if deleted is not None else None
    removed = {"files_removed": deleted.files if deleted else 0, "bytes_removed": deleted.bytes if deleted else 0}
    return p.Done({"agent": agent.id, "workspace": workspace, "snapshot": before, **removed})


HANDLERS: dict[type[p.Command], Handler] = {p.WorkspaceList: list_workspaces, p.WorkspaceClean: clean}
