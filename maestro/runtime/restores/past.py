"""How things were at a position: folded from the log of the store, or from the log that a snapshot holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from maestro.model.agent import Agent
from maestro.model.restore import Span
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.store.contract import Store
from projections.fold import Fold
from projections.lineage import Cut, Line, cuts_of
from replayers import checkpoint, positions, rewind

VIEWS = ("agents", "tasks", "state", "workflow_runs")


class Past(NamedTuple):
    """Agents, open tasks and state as they were at a position of the log.

    at: server time of the position, ms; spans: the positions of the events that led there; tasks: those that were open;
    keys: those of the state that had not expired; runs: of workflows, those that were open.
    """

    position: int
    at: int
    spans: list[Span]
    agents: dict[str, Agent]
    tasks: list[Task]
    keys: list[StateKey]
    runs: list[RunHeader]


def look_back(store: Store, position: int) -> Past:
    """How things were at a position, from the log of the store. Blocks. Raises as `rewind.folded`."""
    return _past(rewind.folded(store, position, VIEWS), position, positions.time_of(store.log, position))


def look_into(folder: Path) -> Past:
    """How things were at the end of a checkpoint, which is in a folder. Blocks. Raises VerificationFailed."""
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
        [row for row in fold.rows_of("workflow_runs").values() if row.open],
    )
