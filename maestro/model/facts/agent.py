"""What happens to agents and their types."""

from __future__ import annotations

from typing import Any

from maestro.model.facts import Fact


class AgentRegistered(Fact, frozen=True):
    """`type:<slug>`: a definition was validated. definition: as resolved, adapter merged in."""

    slug: str
    definition: dict[str, Any]
    source: str = ""


class AgentAssigned(Fact, frozen=True):
    """`agent:<id>`: created, moved or given another role; later assignments replace earlier ones whole.

    definition: the resolved type at that moment, paths and binaries included, so that a run needs nothing else.
    workspace: absolute path, or None for an agent that works in its run folders. node: who owns the workspace.
    """

    agent: str
    type: str
    definition: dict[str, Any]
    workspace_root: str
    workspace: str | None = None
    role: str = ""
    priority: int = 3
    node: str | None = None


class AgentStopped(Fact, frozen=True):
    """`agent:<id>`: takes no work until it is restarted or assigned."""

    agent: str
    reason: str = ""
    force: bool = False


class AgentRestarted(Fact, frozen=True):
    """`agent:<id>`: takes work again, and counts as healthy until a check says otherwise."""

    agent: str


class AgentReset(Fact, frozen=True):
    """`agent:<id>`: its workspace was cleared and made again from the template. snapshot: what it held before."""

    agent: str
    snapshot: str | None = None


class AgentHealthChanged(Fact, frozen=True):
    """`agent:<id>`: became healthy or unhealthy. failed: the names of the checks that failed."""

    agent: str
    healthy: bool
    failed: tuple[str, ...] = ()
    reason: str = ""


class WorkspaceClaimed(Fact, frozen=True):
    """`workspaces:all`: an assignment gives an agent a place, checked against all that were claimed before it.

    It stands behind its `AgentAssigned` in the same append. The version of its subject is that of all places of the
    namespace, so that of two assignments at once, each of which saw a free folder, the log refuses one. workspace: None
    where the agent works in its run folders, below `workspace_root`. Nothing folds it.
    """

    agent: str
    workspace_root: str
    workspace: str | None = None
    node: str | None = None
