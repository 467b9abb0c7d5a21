"""What the leader decides on of what several nodes do together, and what it decides: a world, and moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from maestro.model.agent import Agent
from maestro.model.coordination.turn import Work
from maestro.model.events import NewEvent
from maestro.model.node import Node
from maestro.model.snapshot import Snapshot


class World(msgspec.Struct, frozen=True, kw_only=True):
    """All of it as of one position of the log. now: server time in ms; floor: of the log.

    snapshots: those over several nodes that are not over; works: all that is not over, of snapshots and restores.
    """

    now: int
    floor: int = 0
    nodes: Mapping[str, Node] = {}
    agents: Mapping[str, Agent] = {}
    snapshots: Sequence[Snapshot] = ()
    works: Sequence[Work] = ()


class Move(msgspec.Struct, frozen=True):
    """Events for one append, under the leader's fence. cause, floors: as of `Append`. actor: "" for the leader."""

    events: tuple[NewEvent, ...]
    cause: str = ""
    actor: str = ""
    floors: bool = False


class Decider(msgspec.Struct, frozen=True):
    """One kind of work: what is to be appended now, and when (server ms) to look again though no event comes."""

    decide: Callable[[World], list[Move]]
    due: Callable[[World], int | None]


def work_of_snapshot(row: Snapshot) -> Work:
    """A snapshot over several nodes as one of the works that wait for each other."""
    assert row.across is not None
    return Work(row.across.asked, "snapshot", row.id, row.state != "asked", row.across.restore)
