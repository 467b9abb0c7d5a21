"""The view `agents`: agents (`agent:<id>`) and registered types (`type:<slug>`) of the line.

Indexes, by time: `agents` and `state:<state>` (time of assignment), `types` (time of registration).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.agent import CHANGES, Agent, AgentType, assigned, evolve_type
from maestro.model.events import AnyFact, Event

NAME = "agents"
VERSION = 2
FOLLOWS_LINE = True

Rows = dict[str, Agent | AgentType]
_agent_decoder = msgspec.json.Decoder(Agent)
_type_decoder = msgspec.json.Decoder(AgentType)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    fact = event.fact
    if isinstance(fact, e.AgentRegistered):
        return f"type:{fact.slug}"
    # all other facts of `folds` have it
    return f"agent:{fact.agent}"  # type: ignore[union-attr]


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""
    found: Callable[[str], Any] = rows.get  # The prefix of its id tells whether a row is an Agent or an AgentType.

    def registered(event: Event) -> None:
        row = evolve_type(None, event)
        assert row is not None
        rows[f"type:{row.slug}"] = row

    def new(event: Event) -> None:
        fact = event.fact
        assert isinstance(fact, e.AgentAssigned)
        row_id = f"agent:{fact.agent}"
        rows[row_id] = assigned(found(row_id), fact, event)

    def changing(change: Callable[[Agent, Any, Event], None]) -> Callable[[Event], None]:
        def fold(event: Event) -> None:
            fact = event.fact
            row = found("agent:" + fact.agent)  # type: ignore[union-attr]  # as in touches
            if row is not None:
                change(row, fact, event)

        return fold

    changes = {fact: changing(change) for fact, change in CHANGES.items()}
    return {e.AgentRegistered: registered, e.AgentAssigned: new, **changes}


def indexes(row: Agent | AgentType) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    if isinstance(row, AgentType):
        return {"types": row.registered_at}
    return {"agents": row.assigned_at, f"state:{row.state}": row.assigned_at}


def decode(row_id: str, data: bytes) -> Agent | AgentType:
    """Decode a row from its canonical JSON."""
    return _type_decoder.decode(data) if row_id.startswith("type:") else _agent_decoder.decode(data)
