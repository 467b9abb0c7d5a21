"""The nodes that the targets of a task wait for, where these are down or drained, with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maestro.model.dispatch import DispatchState
from maestro.model.events import TaskDispatched
from maestro.model.node import Node
from maestro.model.target import is_pool, targets_of, who

START_THERE = "start its daemon there (maestro up)"


def nodes_to_start(wanted: TaskDispatched, known: DispatchState) -> dict[str, list[str]]:
    """Of the targets of a task that no agent on a node which is up and not drained can take: the nodes that would have
    to be.
    """
    up = {name for name, node in known.nodes.items() if node.status == "up" and not node.drained}
    up |= {known.here} - {name for name, node in known.nodes.items() if node.drained}
    away = [agent for agent in known.agents if agent.node is not None and agent.node not in up]
    found: dict[str, list[str]] = {}
    for target in wanted.targets if away else ():
        members = [agent for agent in known.agents if who(target) in targets_of(agent)]
        if members and all(agent in away for agent in members):
            found[target] = sorted({str(agent.node) for agent in members})
    return found


def told_to_start(target: str, nodes: Sequence[str], known: Mapping[str, Node]) -> str:
    """The words for a target that waits for nodes (`nodes_to_start`), with what to do. known: the nodes, by id."""
    drained = [name for name in nodes if name in known and known[name].drained]
    agent = "<agent>" if is_pool(target) else who(target)
    elsewhere = f"or, to go on elsewhere, maestro agent assign {agent} --from-snapshot newest --node <node>"
    if not drained:
        return f"{target} waits for node {', '.join(nodes)}, which is down: {START_THERE}, {elsewhere}"
    undo = " or ".join(f"maestro node drain {name} --undo" for name in drained)
    left = all(known[name].status != "up" for name in drained)
    when = elsewhere if left else f"{elsewhere} when it has left"
    return f"{target} waits for node {', '.join(nodes)}, which is drained: {undo}, {when}"
