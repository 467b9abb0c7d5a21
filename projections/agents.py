"""The view `agents`: agents (`agent:<id>`) and registered types (`type:<slug>`) of the line.

Indexes, by time: `agents` and `state:<state>` (assigned), `types` (registered).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.agent import CHANGES, Agent, AgentType, assigned, evolve_type
from maestro.model.events import AnyFact, Event

NAME = "agents"
VERSION = 1
FOLLOWS_LINE = True

Rows = dict[str, Agent | AgentType]
_agent_decoder = msgspec.json.Decoder(Agent)
_type_decoder = msgspec.json.Decoder(AgentType)


def touches(event: Event) -> str:
    """The row that an event of FOLDS changes."""
    fact = event.fact
    if isinstance(fact, e.AgentRegistered):
        return f"type:{fact.slug}"
    return f"agent:{fact.agent}"  # type: ignore[union-attr]  # all other facts of FOLDS have it


def _assigned(rows: Rows, event: Event) -> None:
    fact = event.fact
    assert isinstance(fact, e.AgentAssigned)
    row_id = f"agent:{fact.agent}"
    rows[row_id] = assigned(rows.get(row_id), fact, event)  # type: ignore[arg-type]  # such a row is an Agent


def _changing(change: Callable[[Agent, Any, Event], None]) -> Callable[[Rows, Event], None]:
    def fold(rows: Rows, event: Event) -> None:
        fact = event.fact
        row = rows.get("agent:" + fact.agent)  # type: ignore[union-attr]  # as in touches
        if row is not None:
            change(row, fact, event)  # type: ignore[arg-type]  # such a row is an Agent

    return fold


def _registered(rows: Rows, event: Event) -> None:
    row = evolve_type(None, event)
    assert row is not None
    rows[f"type:{row.slug}"] = row


FOLDS: dict[type[AnyFact], Callable[[Rows, Event], None]] = {
    e.AgentRegistered: _registered,
    e.AgentAssigned: _assigned,
    **{fact: _changing(change) for fact, change in CHANGES.items()},
}


def indexes(row: Agent | AgentType) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    if isinstance(row, AgentType):
        return {"types": row.registered_at}
    return {"agents": row.assigned_at, f"state:{row.state}": row.assigned_at}


def decode(row_id: str, data: bytes) -> Agent | AgentType:
    """A row from its canonical JSON."""
    return _type_decoder.decode(data) if row_id.startswith("type:") else _agent_decoder.decode(data)
