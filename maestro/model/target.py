"""The targets of tasks: an agent by its id, or a pool of agents by type, role or capability."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Invalid
from maestro.model.ids import check_id, check_text, shown

POOLS = ("type", "role", "capability")


def is_pool(target: str) -> bool:
    """Whether a target is a pool, such as `role:reviewer`. An agent's id has no colon."""
    return ":" in target


def check_target(target: str) -> str:
    """The target, if it can be one. Raises Invalid."""
    if not is_pool(target):
        return check_id(target, "agent")
    kind, _, name = target.partition(":")
    if kind not in POOLS:
        raise Invalid(
            f"{shown(target)} is no target", mend="use an agent id, type:<slug>, role:<role> or capability:<name>"
        )
    check_text(name, kind)
    return target


def targets_of(agent: Agent) -> list[str]:
    """All targets that an agent answers to."""
    found = [agent.id, f"type:{agent.type}"]
    if agent.role:
        found.append(f"role:{agent.role}")
    found.extend(f"capability:{name}" for name in AgentDefinition(agent.definition).capabilities)
    return found
