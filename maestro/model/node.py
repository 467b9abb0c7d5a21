"""A node: a host on which a Maestro daemon runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from maestro.model.agent import Agent
from maestro.model.errors import NotFound, Refused
from maestro.model.events import (
    Event,
    NewEvent,
    NodeDrainBegun,
    NodeDrainEnded,
    NodeForgotten,
    NodeHeld,
    NodeJoined,
    NodeLeft,
    NodeLost,
    NodeResumed,
)
from maestro.model.ids import shown
from maestro.model.outcome import RESTART

_NAMED_MAX = 5


class Node(msgspec.Struct, omit_defaults=True):
    """A node; a row of the view `nodes`. status: `up`, `left` (ended in order) or `lost`.

    held: no run is released to it, and `hold` says why: it was shut down and waits for `node.resumed`, or restarts in
    order and waits for its next daemon. drained: it takes nothing new, however often its daemon starts, until that is
    undone. forgotten: it was given up while it was away; its daemon makes it known again. labels, archive: as in
    `NodeJoined`.
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
    labels: tuple[str, ...] = ()
    archive: str = ""
    drained: bool = False
    forgotten: bool = False

    @property
    def takes_work(self) -> bool:
        """Whether runs may be released to the node."""
        return self.status == "up" and not self.held and not self.drained

    @property
    def state(self) -> str:
        """What it is, in one word: `up`, `held`, `draining`, `left`, `lost` or `forgotten`."""
        if self.forgotten or self.status != "up":
            return "forgotten" if self.forgotten else self.status
        return "draining" if self.drained else "held" if self.held else "up"

    def has(self, labels: Iterable[str]) -> bool:
        """Whether it has all of these labels."""
        return all(label in self.labels for label in labels)


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
        case NodeDrainBegun():
            row.drained, row.reason = True, fact.reason
        case NodeDrainEnded():
            row.drained, row.reason = False, ""
        case NodeForgotten():
            row.forgotten = True
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
        labels=fact.labels,
        archive=fact.archive,
        drained=row is not None and row.drained,
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


def decide_drain(name: str, node: Node | None, undo: bool, floor: int = 0) -> list[NewEvent]:
    """Have a node take nothing new, or take work again; nothing where it is so. Raises NotFound, Refused."""
    node = _known(name, node)
    if node.forgotten:
        raise Refused(f"node {name} was forgotten", mend="start its daemon there (maestro up): then it is known again")
    if node.drained is not undo:
        return []
    fact = NodeDrainEnded(name) if undo else NodeDrainBegun(name, "drained")
    return [NewEvent(f"node:{name}", fact, max(node.version, floor))]


def decide_forget(name: str, node: Node | None, agents: Iterable[Agent], floor: int = 0) -> list[NewEvent]:
    """Give up a node that is away; nothing where it was forgotten. agents: all.

    What it left in the shared archive may be collected then, so nothing may be bound to it any more. Raises NotFound;
    Refused where it is up, or where agents have their workspaces there.
    """
    node = _known(name, node)
    if node.forgotten:
        return []
    if node.status == "up":
        raise Refused(f"node {name} is up", mend=f"maestro node drain {name} ends it first; or end its daemon")
    bound = sorted(agent.id for agent in agents if agent.node == name)
    if bound:
        what = f"agents have their workspaces on node {name}: {', '.join(bound[:_NAMED_MAX])}"
        what += f" and {len(bound) - _NAMED_MAX} more" if len(bound) > _NAMED_MAX else ""
        raise Refused(what, mend=f"maestro agent assign {bound[0]} --from-snapshot newest --node NODE moves one")
    return [NewEvent(f"node:{name}", NodeForgotten(name), max(node.version, floor))]


def _known(name: str, node: Node | None) -> Node:
    if node is None:
        what = f"there is no node {shown(name)}"
        raise NotFound(what, mend="maestro node list shows all", sought=("node", name))
    return node


def decide_lost(node: Node, reason: str, floor: int = 0) -> list[NewEvent]:
    """Record that a node's lease ran out; nothing where it is not up. floor: of the log, which a restore raises.

    What that means for its agents: `health.decide_health_by_nodes`.
    """
    if node.status != "up":
        return []
    return [NewEvent(f"node:{node.id}", NodeLost(node.id, reason), max(node.version, floor))]
