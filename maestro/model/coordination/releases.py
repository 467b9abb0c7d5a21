"""Which releases know which events: a node stops before the first event that its release does not know.

A release is asked for only where it is older than this one. What a user asks for looks at the nodes that are up: what
is appended while one is away stops it when it comes back, and it says so. What a node appends of its own accord waits
for those that were lost a short while ago as well, which in an update node by node may be back any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from maestro import __version__
from maestro.model.errors import Refused
from maestro.model.events import NAMES, AnyFact, ArchiveNamed, WorkspaceGuarded
from maestro.model.node import Node

AWAITED_MINUTES: Final = 10
"""How long a node of an older release that was lost is waited for, by what a node appends of its own accord."""
ASKED_FOR: Final = "cmd:"
"""What the cause of an append begins with that a user has asked for."""
OWN_ACCORD: Final = "alerts:"
"""What the cause of an append begins with that nothing in the log asks for, as of these facts, which settings want."""
OF_SETTINGS: Final = (ArchiveNamed, WorkspaceGuarded)

KNOWN: dict[tuple[int, ...], frozenset[str]] = {
    (1, 2, 0): frozenset(
        [
            "agent.assigned",
            "agent.health_changed",
            "agent.registered",
            "agent.reset",
            "agent.restarted",
            "agent.stopped",
            "log.forked",
            "log.sealed",
            "node.held",
            "node.joined",
            "node.left",
            "node.lost",
            "node.resumed",
            "restore.done",
            "restore.failed",
            "restore.placed",
            "restore.started",
            "run.ended",
            "run.parked",
            "run.released",
            "run.session_opened",
            "run.started",
            "run.usage_reported",
            "snapshot.expired",
            "snapshot.failed",
            "snapshot.pinned",
            "snapshot.started",
            "snapshot.taken",
            "snapshot.unpinned",
            "state.deleted",
            "state.set",
            "task.cancel_requested",
            "task.dispatched",
            "task.finished",
            "task.retried",
            "workspace.claimed",
        ]
    )
}
"""The names of the events that each release knows, from the oldest release on that a namespace may still have."""


def release_of(build: str) -> tuple[int, ...]:
    """The release of a build, () where it cannot be told."""
    parts = build.split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


HERE = release_of(__version__)


def knows(build: str, name: str) -> bool:
    """Whether a build knows the events of this name; one whose release cannot be told does."""
    release = release_of(build)
    if not release or release >= HERE:
        return True
    known = [names for since, names in sorted(KNOWN.items()) if since <= release]
    return not known or name in known[-1]


def is_new(fact: AnyFact) -> bool:
    """Whether an older release, of which a node may be up, does not know facts of this kind."""
    return any(NAMES[type(fact)] not in known for known in KNOWN.values())


def elders(nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes that are up with an older release."""
    return [node for node in nodes.values() if node.status == "up" and _is_older(node)]


def awaited(nodes: Mapping[str, Node], now: int) -> list[Node]:
    """The nodes with an older release that are up, or were lost so short a time ago that they may come back as such."""
    since = now - AWAITED_MINUTES * 60_000
    lost = [node for node in nodes.values() if node.status == "lost" and not node.forgotten and node.changed_at > since]
    return elders(nodes) + [node for node in lost if _is_older(node)]


def _is_older(node: Node) -> bool:
    return () < release_of(node.build) < HERE


def stopped_by(facts: Iterable[AnyFact], older: Sequence[Node]) -> Node | None:
    """The first of these nodes that stops before one of the facts; None where none does."""
    if not older:
        return None
    names = [NAMES[type(fact)] for fact in facts]
    return next((node for node in older if not all(knows(node.build, name) for name in names)), None)


def waits_for(facts: Sequence[AnyFact], cause: str, nodes: Mapping[str, Node], now: int) -> Node | None:
    """The node for whose sake an append is not made now; None where it is made, whoever stops by it.

    That is what a user asks for, while the node is up, and what a node appends of its own accord, while the node is
    awaited. All else follows from what is in the log already.
    """
    if cause.startswith(ASKED_FOR):
        return stopped_by(facts, elders(nodes))
    if cause.startswith(OWN_ACCORD) or any(isinstance(fact, OF_SETTINGS) for fact in facts):
        return stopped_by(facts, awaited(nodes, now))
    return None


def refusal(node: Node) -> Refused:
    """Why an append is not made that would stop a node."""
    if node.status == "lost":
        what = f"node {node.id} was lost just now; it runs Maestro {node.build}, and would stop when it comes back"
        mend = f"update Maestro there; {AWAITED_MINUTES} minutes after its loss nothing waits for it any more"
        return Refused(f"{what}, as it does not know what this would write", f"host {node.host}", mend)
    return Refused(
        f"node {node.id} runs Maestro {node.build}, which does not know what this would write, and would stop",
        f"host {node.host}",
        f"update Maestro there, or end its daemon there by `maestro shutdown`; this node runs {__version__}",
    )
