"""Whether a restore has stopped an agent: by the log, as the agent's row tells only the reason that came last."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.events import (
    AgentHealthChanged,
    AgentStopped,
    FailsafeKept,
    FailsafeReturned,
    GuardDropped,
    WorkspaceGuarded,
)
from maestro.model.restore import STOP_REASON
from maestro.runtime.node.context import Context

LOOKS_MAX = 100
BESIDE = (AgentHealthChanged, WorkspaceGuarded, GuardDropped, FailsafeReturned, FailsafeKept)
"""What happens to an agent without letting it take work, or stopping it."""


async def why_stopped(context: Context, row: Agent) -> str:
    """The reason of an agent's last stop, whatever became of its health since; "" where it is not stopped."""

    def look() -> str:
        seq = row.version
        for _ in range(LOOKS_MAX):
            event = context.store.log.event(seq) if seq else None
            if event is None or event.subject != f"agent:{row.id}":
                return ""
            if isinstance(event.fact, AgentStopped):
                return event.fact.reason
            if not isinstance(event.fact, BESIDE):
                return ""
            seq = event.prev
        return ""

    return await context.call(look) if row.stopped else ""


async def is_left_by_restore(context: Context, row: Agent) -> str:
    """The reason with which a restore has left an agent stopped, "" where none has."""
    why = await why_stopped(context, row)
    return why if why.startswith(f"{STOP_REASON} ") else ""
