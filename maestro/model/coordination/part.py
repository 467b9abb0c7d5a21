"""The parts of a snapshot over several nodes while it is on: what each node was asked for, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from maestro.model.events import (
    SnapshotAsked,
    SnapshotOpened,
    SnapshotPartFailed,
    SnapshotPartReady,
    SnapshotPartTaken,
)

WANTED: Final = "wanted"
READY: Final = "ready"
TAKEN: Final = "taken"
FAILED: Final = "failed"
OPEN = frozenset({"asked", "open", "taking"})
"""The states of snapshots over several nodes that are not over."""

StepFact = SnapshotAsked | SnapshotOpened | SnapshotPartReady | SnapshotPartTaken | SnapshotPartFailed


class Part(msgspec.Struct, omit_defaults=True):
    """One node's part. state: wanted, ready, taken or failed; why: it failed. agents: whose workspaces it reads.

    whole: all that is on the node stands still meanwhile, not these agents alone. incarnation: of the daemon that said
    that it is ready; taken: what came of it.
    """

    node: str
    agents: tuple[str, ...] = ()
    whole: bool = False
    state: str = WANTED
    incarnation: str = ""
    why: str = ""
    taken: SnapshotPartTaken | None = None

    @property
    def is_open(self) -> bool:
        """Whether the node has yet to end it."""
        return self.state in (WANTED, READY)


class Across(msgspec.Struct, omit_defaults=True):
    """What was asked for of a snapshot over several nodes, and how far that is. asked: the position of the wish.

    deadline_at: until when all parts must be ready, server ms; 0 before its turn has come. The rest as in
    `SnapshotAsked`.
    """

    asked: int
    parts: dict[str, Part]
    allow_missing: bool = False
    allow_torn: bool = False
    include_logs: bool = False
    restore: str = ""
    deadline_at: int = 0

    def of(self, *states: str) -> Iterator[Part]:
        """The parts in one of these states."""
        return (part for part in self.parts.values() if part.state in states)

    @property
    def open_nodes(self) -> list[str]:
        """The nodes that have yet to end their parts."""
        return [part.node for part in self.parts.values() if part.is_open]


def across_of(fact: SnapshotAsked, position: int) -> Across:
    """What a wish asks for. position: of the wish."""
    parts = {part.node: Part(part.node, part.agents, part.whole) for part in fact.parts}
    return Across(position, parts, fact.allow_missing, fact.allow_torn, fact.include_logs, fact.restore)


def fold(across: Across | None, fact: StepFact, state: str) -> str:
    """Take in a fact; the state of the snapshot behind it. state: before it.

    What comes out of order, or again, changes nothing: a part is ready before the cut, and taken behind it.
    """
    if across is None or state not in OPEN or isinstance(fact, SnapshotAsked):
        return state
    if isinstance(fact, SnapshotOpened):
        if state != "asked":
            return state
        across.deadline_at = fact.deadline_at
        return "open"
    part = across.parts.get(fact.node)
    if part is None or not part.is_open:
        return state
    match fact:
        case SnapshotPartReady() if state == "open" and part.state == WANTED:
            part.state, part.incarnation = READY, fact.incarnation
        case SnapshotPartTaken() if state == "taking" and part.state == READY:
            part.state, part.taken = TAKEN, fact
        case SnapshotPartFailed():
            part.state, part.why = FAILED, fact.reason
        case _:
            pass
    return state


def forget_contents(across: Across) -> None:
    """Keep of what is over only who had which part, and what went wrong."""
    for part in across.parts.values():
        part.taken = None
