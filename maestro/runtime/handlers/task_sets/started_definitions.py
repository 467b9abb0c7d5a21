"""The definition that an agent had when a run of it started: what the run was told holds for as long as it is on."""

from __future__ import annotations

from typing import Any

from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned
from maestro.store.contract import Store


def definition_at(store: Store, agent: Agent, started_at: int) -> dict[str, Any]:
    """The definition by which an agent worked at a time (server ms), as the log has it. Blocks.

    Events know the one before of their subject. Where that way ends, as behind a restore, it is the definition of now.
    """
    at = agent.version if agent.assigned_at > started_at else 0
    while at:
        event = store.log.event(at)
        if event is None or event.subject != f"agent:{agent.id}":
            break
        if event.at <= started_at and isinstance(event.fact, AgentAssigned):
            return event.fact.definition
        at = event.prev
    return agent.definition
