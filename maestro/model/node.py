"""A node: a host on which a Maestro daemon runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import Event, NewEvent, NodeHeld, NodeJoined, NodeLeft, NodeLost, NodeResumed
from maestro.model.outcome import RESTART


class Node(msgspec.Struct, omit_defaults=True):
    """A node; a row of the view `nodes`. status: `up`, `left` (ended in order) or `lost`.

    held: no run is released to it, and `hold` says why: it was shut down and waits for `node.resumed`, or restarts in
    order and waits for its next daemon.
    """

    id: str
    version: int
    host: str
    incarnation: str
    pid: int
    max_concurrent: int
    build: str
    home: str = ""
    status: str = "up"
    held: bool = False
    joined_at: int = 0
    changed_at: int = 0
    reason: str = ""
    hold: str = ""

    @property
    def takes_work(self) -> bool:
        """Whether runs may be released to the node."""
        return self.status == "up" and not self.held


def evolve(row: Node | None, event: Event) -> Node | None:
    """The node after the event, changed in place.

    A daemon's start ends the hold of an orderly restart, and no other: `node.resumed` does.
    """
    fact = event.fact
    if isinstance(fact, NodeJoined):
        return _joined(row, fact, event)
    if row is None:
        return None
    match fact:
        case NodeHeld():
            row.held, row.reason, row.hold = True, fact.reason, fact.reason
        case NodeResumed():
            row.held, row.reason, row.hold = False, fact.reason, ""
        case NodeLeft():
            row.status, row.reason = "left", fact.reason
        case NodeLost():
            row.status, row.reason = "lost", fact.reason
        case _:
            return row
    row.version, row.changed_at = event.seq, event.at
    return row


def _joined(row: Node | None, fact: NodeJoined, event: Event) -> Node:
    held = row is not None and row.held and row.hold != RESTART
    return Node(
        id=fact.node,
        version=event.seq,
        host=fact.host,
        incarnation=fact.incarnation,
        pid=fact.pid,
        max_concurrent=fact.max_concurrent,
        build=fact.build,
        home=fact.home,
        held=held,
        hold=row.hold if row is not None and held else "",
        joined_at=event.at,
        changed_at=event.at,
    )


def decide_hold(node: Node, reason: str, floor: int = 0) -> list[NewEvent]:
    """Hold a node, so that its queued tasks wait until it is resumed; nothing where it is held. floor: of the log."""
    return [] if node.held else [NewEvent(f"node:{node.id}", NodeHeld(node.id, reason), max(node.version, floor))]


def decide_resume(nodes: Mapping[str, Node], agents: Iterable[Agent], here: str, reason: str) -> list[NewEvent]:
    """End the hold of every node that one of the agents needs: its own, or the caller's (`here`) where it has none.

    Without agents the caller's node takes work again. The events go in at any version, so that two commands that
    resume a node at once are not in each other's way.
    """
    wanted = dict.fromkeys(agent.node or here for agent in agents) or {here: None}
    return [
        NewEvent(f"node:{name}", NodeResumed(name, reason)) for name in wanted if name in nodes and nodes[name].held
    ]


def decide_lost(node: Node, reason: str, floor: int = 0) -> list[NewEvent]:
    """Record that a node's lease ran out; nothing where it is not up. floor: of the log, which a restore raises.

    What that means for its agents: `health.decide_health_by_nodes`.
    """
    if node.status != "up":
        return []
    return [NewEvent(f"node:{node.id}", NodeLost(node.id, reason), max(node.version, floor))]
