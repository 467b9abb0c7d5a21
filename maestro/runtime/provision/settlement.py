"""The settlement of an assignment to this node: its workspace is checked against others, made once, and remembered.

Also where no command of this node has asked for it: an assignment may come from another node.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import trio

from maestro.config import Settings
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
from maestro.workspaces.objects.opening import folder_of


class Surroundings(NamedTuple):
    """What lies on the host of a node. claims: the folders of agents; near: the nodes there; kept: what Maestro keeps
    there beside MAESTRO_HOME of this node and workspaces, each with what it is.
    """

    claims: list[guards.Claim]
    near: set[str]
    kept: list[tuple[str, str]]


async def surroundings_on(context: Context, host: str) -> Surroundings:
    """What lies on the host of a node. Raises NotFound for an unknown node."""
    nodes = {each.id: each for each in await context.rows(context.views.nodes)}
    if host not in nodes and host != context.node:
        raise NotFound(f"there is no node {host!r}", mend="maestro node list shows all", sought=("node", host))
    near = _same_host(nodes, host)
    claims = [
        guards.Claim(each.id, each.workspace_root, each.workspace, nodes[each.node].home if each.node in nodes else "")
        for each in await context.rows(context.views.agents)
        if each.node is None or each.node in near
    ]
    others = [nodes[name] for name in sorted(near & nodes.keys() - {context.node})]
    kept = [(each.home, f"MAESTRO_HOME of node {each.id}") for each in others if each.home and not each.forgotten]
    return Surroundings(claims, near, kept + (kept_by(context.settings) if context.node in near else []))


def kept_by(settings: Settings) -> list[tuple[str, str]]:
    """The folders in which Maestro keeps what is not in MAESTRO_HOME, by these settings, each with what it is."""
    found = [(f"{settings.segments_dir}/{settings.namespace}", "the sealed segments of the log")]
    if settings.archive_url is not None and (folder := folder_of(settings.archive_url)) is not None:
        found.append((f"{folder}/{settings.namespace}", "the shared archive"))
    return found


async def check_file(context: Context, path: str, where: str) -> None:
    """Check that a file may be written there by a command: see `guards.Neighbours.check_file`. Raises Refused."""
    found = await surroundings_on(context, context.node)

    def check() -> None:
        guards.Neighbours(context.settings.home, found.claims, found.kept).check_file(path, where)

    await trio.to_thread.run_sync(check)


class Settlement:
    """One round of settling: the folders of all agents are looked at once for it, and only where they must be."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._memory = KnownWorkspaces(context.settings.home)
        self._neighbours: guards.Neighbours | None = None

    async def settle(self, agent: Agent) -> None:
        """Make the workspace of an assignment to this node where it was never made, and remember that it is there.

        Nothing where that is remembered. Raises Refused as `guards.Neighbours.check`, and where it was there and is
        gone.
        """
        row = msgspec.structs.replace(agent)  # a copy for the thread, as the plan changes its rows in place
        if await trio.to_thread.run_sync(self._is_settled, row):
            return
        claims = (
            [] if self._neighbours is not None else (await surroundings_on(self._context, self._context.node)).claims
        )
        await trio.to_thread.run_sync(self._make, row, claims)

    def _is_settled(self, row: Agent) -> bool:
        workspace = str(row.workspace)
        seen, known = look(workspace, current()), self._memory.get(workspace)
        check = workspace_check(row, seen, known)
        if not check.ok:
            raise Refused(check.detail, where="workspace", mend=way_out(row, [check.name]))
        return seen.there and is_remembered(row, known)

    def _make(self, row: Agent, claims: list[guards.Claim]) -> None:
        settings, workspace = self._context.settings, str(row.workspace)
        if self._neighbours is None:
            self._neighbours = guards.Neighbours(settings.home, claims)
        real = self._neighbours.check(row.id, workspace, row.workspace_root or settings.workspace_root)
        if real != workspace:
            raise Refused(f"{workspace!r} is a link", where="workspace", mend=f"assign {row.id} to {real}")
        if templates.fill(workspace, AgentDefinition(row.definition).workspace_template):
            log.info("made the workspace %s of agent %s", workspace, row.id)
            self._neighbours.enter(row.id, workspace)
        self._memory.remember(row, look(workspace, current()))


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
