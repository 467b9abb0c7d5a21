"""An agent: an instance of a type, bound to a workspace on a node, with a role and a priority."""

from __future__ import annotations

from typing import Any

import msgspec


class AgentType(msgspec.Struct, omit_defaults=True):
    """A registered definition; row `type:<slug>` of the view `agents`."""

    slug: str
    version: int
    definition: dict[str, Any]
    source: str = ""
    registered_at: int = 0


class Agent(msgspec.Struct, omit_defaults=True):
    """Row `agent:<id>` of the view `agents`. version: seq of its last own event (run events do not count).

    run: the released or running run that holds it, "" when free. running: that run has started.
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

    @property
    def state(self) -> str:
        """SPEC.md 1: active (a run is on), stopped, failed (unhealthy) or idle."""
        if self.running:
            return "active"
        if self.stopped:
            return "stopped"
        return "idle" if self.healthy else "failed"
