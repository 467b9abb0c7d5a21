"""The targets of tasks: an agent by its id, or a pool of agents by type, role or capability; labels narrow the nodes.

`role:reviewer,label:gpu` is the pool `role:reviewer` on nodes that have the label `gpu`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Invalid
from maestro.model.ids import LABEL, check_id, check_text, shown
from maestro.model.node import Node

POOLS = ("type", "role", "capability")


def who(target: str) -> str:
    """The agent or the pool that a target names, without labels."""
    return target.partition(",")[0]


def labels_of(target: str) -> tuple[str, ...]:
    """The labels that the node of a target must have, sorted."""
    _, comma, rest = target.partition(",")
    return tuple(sorted({name.removeprefix(LABEL) for name in rest.split(",")})) if comma else ()


def is_pool(target: str) -> bool:
    """Whether a target is a pool, such as `role:reviewer`. An agent's id has no colon."""
    return ":" in who(target)


def check_target(target: str) -> str:
    """The target, if it can be one. Raises Invalid."""
    name, *labels = target.split(",")
    for label in labels:
        if not label.startswith(LABEL):
            raise Invalid(
                f"{shown(target)} is no target", mend="behind one name only labels, as role:reviewer,label:gpu"
            )
        check_id(label.removeprefix(LABEL), "label")
    if not is_pool(name):
        check_id(name, "agent")
        return target
    kind, _, rest = name.partition(":")
    if kind not in POOLS:
        mend = "use an agent id, type:<slug>, role:<role> or capability:<name>"
        if name.startswith(LABEL):
            mend = f"write it behind whom it narrows: role:reviewer,{name}"
        raise Invalid(f"{shown(target)} is no target", mend=mend)
    check_text(rest, kind)
    return target


def targets_of(agent: Agent) -> list[str]:
    """All targets that an agent answers to, without labels."""
    found = [agent.id, f"type:{agent.type}"]
    if agent.role:
        found.append(f"role:{agent.role}")
    found.extend(f"capability:{name}" for name in AgentDefinition(agent.definition).capabilities)
    return found


def is_anywhere(labels: Iterable[str], nodes: Iterable[Node]) -> bool:
    """Whether a node that is not given up has all of these labels."""
    return any(node.has(labels) for node in nodes if not node.forgotten)


def unlabelled(targets: Iterable[str], agents: Iterable[Agent], nodes: Mapping[str, Node]) -> dict[str, str]:
    """The targets that wait for labels as things are, each with why: no node has them, or not that of the agent.

    Nodes that are given up do not count.
    """
    homes = {agent.id: agent.node for agent in agents if agent.node is not None}
    known = [node for node in nodes.values() if not node.forgotten]
    there = sorted({label for node in known for label in node.labels})
    found: dict[str, str] = {}
    for target in targets:
        asked, home = labels_of(target), homes.get(target.partition(",")[0])
        if not asked:
            continue
        told = f"the label{'s' if len(asked) > 1 else ''} {' and '.join(asked)}"
        if not is_anywhere(asked, known):
            names = f"labels there are: {', '.join(there)}" if there else "no node has any label"
            found[target] = f"a node with {told}, which none has ({names})"
        elif home is not None and not any(node.id == home and node.has(asked) for node in known):
            found[target] = f"{told}, which node {home}, where its workspace is, has not"
    return found
