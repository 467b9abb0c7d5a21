"""Commands about nodes, their workspaces and their store."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class Up(Command, frozen=True, tag_field="kind", tag="up"):
    """Have the daemon run. Data: node row."""


class Shutdown(Command, frozen=True, tag_field="kind", tag="shutdown"):
    """Stop this node's agents, daemon and embedded store. Data: {node, cancelled, cleaned, daemon}.

    cancelled: tasks; cleaned: folders of runs; daemon: whether one ran. keep: run folders are not cleaned.
    """

    grace_s: float = 10.0
    keep: bool = False


class WorkspaceList(Command, frozen=True, tag_field="kind", tag="workspace list"):
    """List workspaces. Items: {agent, workspace, node, exists, bytes, ...}.

    node: only those on this node; "" for all, which asks the other nodes for theirs.
    """

    node: str = ""


class WorkspaceClean(Command, frozen=True, tag_field="kind", tag="workspace clean"):
    """Stop an agent and empty its workspace. Data: {agent, workspace, ...}."""

    agent: str


class NodeList(Command, frozen=True, tag_field="kind", tag="node list"):
    """List nodes. Items: node rows {id, host, status, state, running, max_concurrent, labels, build, ...}."""


class NodeDrain(Command, frozen=True, tag_field="kind", tag="node drain"):
    """Have a node take nothing new, finish what runs, then leave; with `undo` take work again. Data: node row."""

    id: str
    undo: bool = False


class NodeForget(Command, frozen=True, tag_field="kind", tag="node forget"):
    """Give up a node that is away. Data: node row."""

    id: str


class Doctor(Command, frozen=True, tag_field="kind", tag="doctor"):
    """Check the installation. Items: {check, status: ok|warning|failed, detail, remedy}.

    Exit code 0, or that of the worst check.
    """

    accept_loss: bool = False


class RedisFlush(Command, frozen=True, tag_field="kind", tag="redis flush"):
    """Delete the namespace from the store. Data: {namespace, deleted, backup, events}."""

    confirm: str
    backup: str | None = None  # path of the export made first, None with --no-backup
