"""The rows of agents and of their types, as views and the plan hold them. `agent.py` says what events make of them."""

from __future__ import annotations

from typing import Any

import msgspec


class AgentType(msgspec.Struct, omit_defaults=True):
    """A registered definition of agents; the row `type:<slug>` of the view `agents`."""

    slug: str
    version: int
    definition: dict[str, Any]
    source: str = ""
    registered_at: int = 0


class Guard(msgspec.Struct, frozen=True, omit_defaults=True):
    """The archive that an agent's workspace goes back to if the guarded run ends badly, as in `WorkspaceGuarded`."""

    run: str
    task: str
    workspace: str
    snapshot: str
    node: str = ""


class Agent(msgspec.Struct, omit_defaults=True):
    """An agent; the row `agent:<id>` of the view `agents`. version: seq of its last own event (run events do not
    count).

    run: the released or running run that holds the agent, "" when it is free. running: that run has started. guard: of
    its workspace, which no other run may write to until that is returned, kept or dropped; returns: how many there were
    since the last good end.
    """

    id: str
    version: int
    type: str
    definition: dict[str, Any]
    workspace_root: str
    workspace: str | None = None
    role: str = ""
    priority: int = 3
    node: str | None = None
    stopped: bool = False
    healthy: bool = True
    failed_checks: list[str] = []
    reason: str = ""
    run: str = ""
    running: bool = False
    task: str = ""
    assigned_at: int = 0
    last_task: str = ""
    last_run_at: int = 0
    runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    cached_tokens: int = 0
    guard: Guard | None = None
    returns: int = 0

    @property
    def state(self) -> str:
        """`active` (a run is on), `stopped`, `failed` (unhealthy) or `idle`."""
        if self.running:
            return "active"
        if self.stopped:
            return "stopped"
        return "idle" if self.healthy else "failed"
