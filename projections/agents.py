"""The view `agents`: agents (`agent:<id>`) and registered types (`type:<slug>`) of the line.

Indexes, by time: `agents` and `state:<state>` (assigned), `types` (registered).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias

import msgspec

from maestro.model import events as e
from maestro.model.agent import Agent, AgentType, evolve, evolve_type

NAME = "agents"
VERSION = 1
FOLLOWS_LINE = True

AgentFact: TypeAlias = (
    e.AgentAssigned
    | e.AgentStopped
    | e.AgentRestarted
    | e.AgentReset
    | e.AgentHealthChanged
    | e.RunReleased
    | e.RunStarted
    | e.RunSessionOpened
    | e.RunUsageReported
    | e.RunEnded
    | e.RunParked
)
FACTS: tuple[type[e.AnyFact], ...] = (*AgentFact.__args__, e.AgentRegistered)

_agent = msgspec.json.Decoder(Agent)
_type = msgspec.json.Decoder(AgentType)


def touches(event: e.Event) -> tuple[str, ...]:
    """The row that the event changes. The event is one of FACTS."""
    fact = event.fact
    if isinstance(fact, e.AgentRegistered):
        return (f"type:{fact.slug}",)
    return (f"agent:{fact.agent}",)  # type: ignore[union-attr]  # one of AgentFact


def apply(rows: MutableMapping[str, Agent | AgentType], event: e.Event) -> None:
    """Fold one event of FACTS into the rows, in place."""
    row: Agent | AgentType | None
    (row_id,) = touches(event)
    before = rows.get(row_id)
    if isinstance(event.fact, e.AgentRegistered):
        row = evolve_type(before if isinstance(before, AgentType) else None, event)
    else:
        row = evolve(before if isinstance(before, Agent) else None, event)
    if row is not None:
        rows[row_id] = row


def indexes(row: Agent | AgentType) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    if isinstance(row, AgentType):
        return {"types": row.registered_at}
    return {"agents": row.assigned_at, f"state:{row.state}": row.assigned_at}


def decode(row_id: str, data: bytes) -> Agent | AgentType:
    """A row from its canonical JSON."""
    return _type.decode(data) if row_id.startswith("type:") else _agent.decode(data)
