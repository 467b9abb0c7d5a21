"""Whether a restore has stopped an agent: by the log, as the agent's row tells only the reason that came last."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.events import (
    AgentHealthChanged,
    AgentStopped,
    Event,
    FailsafeKept,
    FailsafeReturned,
    GuardDropped,
    RestoreDone,
    WorkspaceGuarded,
)
from maestro.model.restore import STOP_REASON
from maestro.runtime.node.context import Context
from maestro.store.contract import LogStore

LOOKS_MAX = 100
CHUNK = 500
BESIDE = (AgentHealthChanged, WorkspaceGuarded, GuardDropped, FailsafeReturned, FailsafeKept)
"""What happens to an agent without letting it take work, or stopping it."""


async def why_stopped(context: Context, row: Agent) -> str:
    """The reason of an agent's last stop, whatever became of its health since; "" where it is not stopped."""

    return await context.call(last_stop, context.store.log, row) if row.stopped else ""


def last_stop(log: LogStore, row: Agent) -> str:
    """The reason of the last stop of an agent that is stopped, "" where that is not found. Blocks."""
    subject, seq = f"agent:{row.id}", row.version
    for _ in range(LOOKS_MAX):
        event = log.event(seq) if seq else None
        if event is not None and event.subject != subject:
            event = _of_restore(log, seq, subject)
        if event is None:
            return ""
        if isinstance(event.fact, AgentStopped):
            return event.fact.reason
        if not isinstance(event.fact, BESIDE):
            return ""
        seq = event.prev
    return ""


def _of_restore(log: LogStore, floor: int, subject: str) -> Event | None:
    """The last event of a subject in the append of a restore; its end is what the first one behind that links to."""
    while floor > 0:
        after = max(0, floor - CHUNK)
        for event in reversed(log.read(after, floor - after)):
            if event.subject == subject:
                return event
            if isinstance(event.fact, RestoreDone):
                return None
        floor = after
    return None


async def is_left_by_restore(context: Context, row: Agent) -> str:
    """The reason with which a restore has left an agent stopped, "" where none has."""
    why = await why_stopped(context, row)
    return why if why.startswith(f"{STOP_REASON} ") else ""
