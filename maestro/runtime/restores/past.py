"""How things were at a position: folded from the log, or from the log that a snapshot holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from maestro.model.agent import Agent
from maestro.model.restore import Span
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.store.contract import Store
from projections.fold import Fold
from projections.lineage import Cut, Line, cuts_of
from replayers import checkpoint, positions, rewind

VIEWS = ("agents", "tasks", "state")


class Past(NamedTuple):
    """at: server time of the position, ms; spans: the line that leads there; tasks: those that were open."""

    position: int
    at: int
    spans: list[Span]
    agents: dict[str, Agent]
    tasks: list[Task]
    keys: list[StateKey]


def look_back(store: Store, position: int) -> Past:
    """From the log of the store. Blocks. Raises as `rewind.folded`."""
    return _past(rewind.folded(store, position, VIEWS), position, positions.time_of(store.log, position))


def look_into(folder: Path) -> Past:
    """From a checkpoint. Blocks. Raises VerificationFailed."""
    found = checkpoint.look(folder)
    cuts: list[Cut] = []
    for events in checkpoint.events(folder):
        cuts += cuts_of(events)
    fold = Fold(Line(cuts, found.position), VIEWS)
    for events in checkpoint.events(folder):
        fold.apply(events)
    return _past(fold, found.position, found.at)


def _past(fold: Fold, position: int, at: int) -> Past:
    return Past(
        position,
        at,
        fold.line.ranges,
        {row.id: row for row in fold.rows_of("agents").values() if isinstance(row, Agent)},
        [row for row in fold.rows_of("tasks").values() if row.open],
        [row for row in fold.rows_of("state").values() if rewind.lives(row, at)],
    )
