"""What happens to agents and their types."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.facts import Fact


class CheckFound(msgspec.Struct, frozen=True, omit_defaults=True):
    """A check of an agent as a change of its health found it: the evidence. detail: what was seen, in words.

    value, limit: numbers in `unit`, None where there is none; mend: what helps, "" for nothing.
    """

    name: str
    ok: bool
    detail: str = ""
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    mend: str = ""


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
    """`agent:<id>`: became healthy or unhealthy, or is unhealthy for another reason: once each, not at each look.

    failed: the names of the checks that failed; reason: what was seen of them, or why the agent is stopped, where it
    is. checks: the evidence, of the checks that failed before or fail now, as far as they were made now. run, task:
    those that were on, "" for none. by_run: what that run does makes the agent unhealthy, not what lies around it, so
    that failsafe mode ends it. Events of builds up to 1.2.0 lack these four.
    """

    agent: str
    healthy: bool
    failed: tuple[str, ...] = ()
    reason: str = ""
    checks: tuple[CheckFound, ...] = ()
    run: str = ""
    task: str = ""
    by_run: bool = False


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
