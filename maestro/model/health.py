"""Whether an agent is healthy: the one rule that lists, checks, dispatches and releases follow.

The row of an agent says which checks failed when they were made last. Not everybody can make every check: what lies on
a node's disks is seen there only, whether a node is lost stands in the log. A recorded failure stays until somebody
who can make that check finds it passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from maestro.model.agent import Agent, decide_health
from maestro.model.events import AgentHealthChanged, NewEvent
from maestro.model.node import Node

NODE: Final = "node"


class Check(msgspec.Struct, frozen=True):
    """One check and its result. detail: what was seen, for people."""

    name: str
    ok: bool
    detail: str


class Verdict(msgspec.Struct, frozen=True):
    """The health of an agent. failed: names of the checks that do not hold; reason: what was seen of them."""

    failed: tuple[str, ...]
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether all checks hold."""
        return not self.failed


def verdict(row: Agent, checks: Sequence[Check]) -> Verdict:
    """The health of an agent whose row says what was found before, after `checks` were made."""
    made = {check.name: check for check in checks}
    failed = [name for name in row.failed_checks if name not in made or not made[name].ok]
    failed += [check.name for check in checks if not check.ok and check.name not in failed]
    if failed == row.failed_checks:
        return Verdict(tuple(failed), row.reason)
    told = (made[name].detail if name in made else f"{name} failed" for name in failed)
    return Verdict(tuple(failed), "; ".join(told))


def decide_checked(row: Agent, checks: Sequence[Check], floor: int = 0) -> list[NewEvent]:
    """What the checks change about an agent's recorded health; nothing where it is known."""
    found = verdict(row, checks)
    return decide_health(row.id, row, found.failed, found.reason, floor)


def node_check(agent: Agent, nodes: Mapping[str, Node]) -> Check:
    """Whether the node that owns the agent's workspace can still be reached. One that was shut down in order can."""
    node = None if agent.node is None else nodes.get(agent.node)
    if agent.node is None:
        return Check(NODE, True, "any node will do")
    if node is None:
        return Check(NODE, True, f"node {agent.node} has not joined yet")
    return Check(NODE, node.status != "lost", f"node {node.id} is {node.status}")


def decide_nodes(agents: Iterable[Agent], nodes: Mapping[str, Node], floor: int = 0) -> list[NewEvent]:
    """Agents of lost nodes become unhealthy; those whose nodes are back are so no longer for that reason."""
    return [event for agent in agents for event in decide_checked(agent, [node_check(agent, nodes)], floor)]


def still_lost(agent: str, node: Node | None) -> list[NewEvent]:
    """Behind an event that makes an agent take work again: it stays unhealthy where its node is lost."""
    if node is None or node.status != "lost":
        return []
    return [NewEvent(f"agent:{agent}", AgentHealthChanged(agent, False, (NODE,), f"node {node.id} is lost"))]


def way_out(agent: Agent) -> str:
    """What its user can do about an unhealthy agent, in words."""
    if NODE in agent.failed_checks:
        return f"start the daemon of its node (maestro up), or move it: agent assign {_again(agent)} --node <node>"
    return f"agent health {agent.id} shows more; --force overrides"


def _again(agent: Agent) -> str:
    return f"{agent.type} --name {agent.id} --to-workspace <folder>"
