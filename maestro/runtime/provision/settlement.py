"""The settlement of an assignment to this node: its workspace is checked against others, made once, and remembered.

Also where no command of this node has asked for it: an assignment may come from another node.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import NotFound, Refused
from maestro.model.health import is_remembered, way_out, workspace_check
from maestro.model.node import Node
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.provision.known_workspaces import KnownWorkspaces, look
from maestro.workspaces import guards, templates
from maestro.workspaces.addresses import current


async def claims_on(context: Context, host: str) -> tuple[list[guards.Claim], set[str]]:
    """The folders that all agents have on the host of a node, and the nodes of that host.

    Raises NotFound for an unknown node.
    """
    nodes = {each.id: each for each in await context.rows(context.views.nodes)}
    if host not in nodes and host != context.node:
        raise NotFound(f"there is no node {host!r}", mend="node list shows all")
    near = _same_host(nodes, host)
    claims = [
        guards.Claim(each.id, each.workspace_root, each.workspace, nodes[each.node].home if each.node in nodes else "")
        for each in await context.rows(context.views.agents)
        if each.node is None or each.node in near
    ]
    return claims, near


def is_settled(context: Context, agent: Agent) -> bool:
    """Whether the workspace of an assignment to this node is there, and remembered. Raises Refused where it was there
    and is gone.

    It blocks for as long as the workspace's file system does.
    """
    assert agent.workspace is not None
    seen, known = look(agent.workspace, current()), KnownWorkspaces(context.settings.home).get(agent.workspace)
    check = workspace_check(agent, seen, known)
    if not check.ok:
        raise Refused(check.detail, where="workspace", mend=way_out(agent, [check.name]))
    return seen.there and is_remembered(agent, known)


async def settle(context: Context, agent: Agent) -> None:
    """Make the workspace of an assignment to this node where it was never made, and remember that it is there.

    Nothing where that is remembered. Raises Refused as `guards.check_workspace`, and where it was there and is gone.
    """
    assert agent.workspace is not None
    row, workspace = msgspec.structs.replace(agent), agent.workspace
    memory = KnownWorkspaces(context.settings.home)
    if await trio.to_thread.run_sync(is_settled, context, row):
        return
    claims, _ = await claims_on(context, context.node)

    def make() -> None:
        root, home = row.workspace_root or context.settings.workspace_root, context.settings.home
        real = guards.check_workspace(row.id, workspace, root=root, home=home, claims=claims)
        if real != workspace:
            raise Refused(f"{workspace!r} is a link", where="workspace", mend=f"assign {row.id} to {real}")
        if templates.fill(workspace, AgentDefinition(row.definition).workspace_template):
            log.info("made the workspace %s of agent %s", workspace, row.id)
        memory.remember(row, look(workspace, current()))

    await trio.to_thread.run_sync(make)


async def remember(context: Context, agent: Agent) -> None:
    """Remember the workspace of an assignment to this node, where it is there."""
    row, workspace = msgspec.structs.replace(agent), agent.workspace
    if workspace is None or row.node != context.node:
        return

    def note() -> None:
        KnownWorkspaces(context.settings.home).remember(row, look(workspace, current()))

    await trio.to_thread.run_sync(note)


def _same_host(nodes: Mapping[str, Node], node: str) -> set[str]:
    """The nodes of one host, which share its folders. A node that has not joined yet is on this host."""
    host = nodes[node].host if node in nodes else socket.gethostname()
    return {node, *(each.id for each in nodes.values() if each.host == host)}
