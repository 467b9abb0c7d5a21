"""What a dispatch says where the node of its agent is down, or drained."""

from __future__ import annotations

import pytest

from maestro.model.agent import Agent
from maestro.model.coordination.awaited_nodes import nodes_to_start, told_to_start
from maestro.model.dispatch import DispatchState
from maestro.model.events import TaskDispatched
from maestro.model.node import Node

ELSEWHERE = "or, to go on elsewhere, maestro agent assign ann --from-snapshot newest --node <node>"


@pytest.mark.parametrize(
    ("status", "drained", "said"),
    [
        ("up", False, ""),
        ("lost", False, f"ann waits for node b, which is down: start its daemon there (maestro up), {ELSEWHERE}"),
        ("left", True, f"ann waits for node b, which is drained: maestro node drain b --undo, {ELSEWHERE}"),
        (
            "up",
            True,
            f"ann waits for node b, which is drained: maestro node drain b --undo, {ELSEWHERE} when it has left",
        ),
    ],
)
def test_what_would_let_it_go_on_is_said(status: str, drained: bool, said: str) -> None:
    node = Node("b", 1, "host", "i", 1, 4, "1.3.0", status=status, drained=drained)
    agent = Agent("ann", 1, "shell", {}, "/w", workspace="/w/ann", node="b")
    known = DispatchState([agent], [], None, {"b": node}, "a", 0)
    found = nodes_to_start(TaskDispatched("t", "x", "x", ("ann",)), known)
    told = "".join(told_to_start(target, nodes, known.nodes) for target, nodes in found.items())
    assert told == said
