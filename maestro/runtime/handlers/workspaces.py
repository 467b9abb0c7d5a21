"""The handlers of `workspace list|clean`: where the agents work."""

from __future__ import annotations

import trio

from maestro.runtime.handlers.agent_list import find
from maestro.runtime.handlers.agents import stop_agent
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.interim_stop import stopped_meanwhile
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.workspace_setup import check_clearable, check_unmounted
from maestro.runtime.restores.remains import remains
from maestro.runtime.server.id_prefixes import check_whole_agent
from maestro.runtime.snapshots.deletion import clear
from maestro.workspaces.folders import is_folder
from maestro.workspaces.usage import size_of


async def list_workspaces(call: Call, command: p.WorkspaceList) -> p.Done:
    """List the assigned workspaces, with the size of those on this node."""
    context = call.context
    left = await trio.to_thread.run_sync(remains, context.settings.home)
    for agent in await context.rows(context.views.agents):
        if agent.workspace is None:
            continue
        here = agent.node == context.node
        exists = is_folder(agent.workspace) if here else None
        files, size = await trio.to_thread.run_sync(size_of, agent.workspace) if exists else (None, None)
        await call.item(
            {
                "agent": agent.id,
                "workspace": agent.workspace,
                "node": agent.node,
                "exists": exists,
                "files": files,
                "bytes": size,
                "left": [each.path for each in left if each.target == agent.workspace] if here else [],
            }
        )
    return p.Done()


async def clean(call: Call, command: p.WorkspaceClean) -> p.Done:
    """Stop an agent, take a snapshot, then empty its workspace. It stays stopped until it is restarted or assigned."""
    context = call.context
    await check_whole_agent(context, command.agent, "workspace clean")
    agent = await find(context, command.agent)
    workspace = check_clearable(context, agent)
    await check_unmounted(context, agent)
    async with stopped_meanwhile(call, agent, "workspace clean"):
        await stop_agent(call, agent.id, force=False, reason="workspace clean")
        deleted = await clear(call, agent, "clean")
    before = deleted.snapshot if deleted is not None else None
    removed = {"files_removed": deleted.files if deleted else 0, "bytes_removed": deleted.bytes if deleted else 0}
    return p.Done({"agent": agent.id, "workspace": workspace, "snapshot": before, **removed})


HANDLERS: dict[type[p.Command], Handler] = {p.WorkspaceList: list_workspaces, p.WorkspaceClean: clean}
