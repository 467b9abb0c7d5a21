"""Which releases know which events: a node stops before the first event that its release does not know.

A release is asked for only where it is older than this one, and only of nodes that are up: what was appended while a
node was away stops it when it comes back, and it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro import __version__
from maestro.model.errors import Refused
from maestro.model.events import NAMES, AnyFact
from maestro.model.node import Node

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
    return [node for node in nodes.values() if node.status == "up" and () < release_of(node.build) < HERE]


def stopped_by(facts: Iterable[AnyFact], nodes: Mapping[str, Node]) -> Node | None:
    """A node that would stop before one of these facts; None where none would."""
    older = elders(nodes)
    if not older:
        return None
    names = [NAMES[type(fact)] for fact in facts]
    return next((node for node in older if not all(knows(node.build, name) for name in names)), None)


def refusal(node: Node) -> Refused:
    """Why a command is refused that would stop a node."""
    return Refused(
        f"node {node.id} runs Maestro {node.build}, which does not know what this would write, and would stop",
        f"host {node.host}",
        f"update Maestro there, or end its daemon there by `maestro shutdown`; this node runs {__version__}",
    )
