"""What a log says of snapshots and restores over several nodes: which are not over, and what they have undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maestro.model.events import (
    AnyFact,
    Event,
    RestoreAsked,
    RestoreDone,
    RestoreFailed,
    RestorePartPlaced,
    RestorePlaced,
    SnapshotAsked,
    SnapshotFailed,
    SnapshotTaken,
    StateSet,
    TaskDispatched,
)
from projections.lineage import Line, cuts_of

ALL = 3


def is_whole(fact: AnyFact) -> bool:
    """Whether this is the end of a snapshot of all nodes."""
    return isinstance(fact, SnapshotTaken) and len(fact.parts) == ALL


def under_way(events: Sequence[Event]) -> list[str]:
    """The snapshots and restores over several nodes that are not over, in words; [] where nothing is on."""
    asked: dict[str, str] = {}
    pending: dict[str, set[str]] = {}
    for event in events:
        match event.fact:
            case SnapshotAsked(snapshot=id) | RestoreAsked(restore=id):
                asked[id] = f"{event.subject} is not over"
            case SnapshotTaken(snapshot=id) | SnapshotFailed(snapshot=id) | RestoreFailed(restore=id):
                asked.pop(id, None)
            case RestoreDone() | RestorePlaced() as fact:
                asked.pop(fact.restore, None)
                pending = {} if isinstance(fact, RestoreDone) else pending
                pending[fact.restore] = set(fact.pending)
            case RestorePartPlaced() as fact:
                pending.get(fact.restore, set()).discard(fact.node)
            case _:
                pass
    left = [f"restore:{id} is pending on node {node}" for id, nodes in pending.items() for node in sorted(nodes)]
    return [*asked.values(), *left]


def undone(events: Sequence[Event]) -> set[str]:
    """The tasks and state keys that restores have undone."""
    line = Line(cuts_of(events))
    found: dict[str, bool] = {}
    for event in events:
        match event.fact:
            case TaskDispatched(task=name) | StateSet(key=name):
                found[name] = line.holds(event.seq)
            case _:
                pass
    return {name for name, holds in found.items() if not holds}


def told(events: Sequence[Event]) -> str:
    """How many snapshots and restores over several nodes there were, and how they ended."""
    kinds = Counter(event.type for event in events if not isinstance(event.fact, SnapshotTaken) or event.fact.parts)
    names = "snapshot.asked", "snapshot.taken", "snapshot.failed", "restore.asked", "restore.done", "restore.failed"
    return ", ".join(f"{kinds[name]} {name}" for name in names if kinds[name])
