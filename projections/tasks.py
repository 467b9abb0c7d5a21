"""The view `tasks`: every task of the line with its slots and runs, one row per task, row id = task id.

Indexes, by position of the dispatch: `all`, `status:<s>`, `agent:<a>` and `status:<s>:agent:<a>`, where an agent is
each named target and each agent that had a run; `finished` and `finished:agent:<a>`, by position of the end. The tasks
of workflows' steps are in `step:all`, `step:status:<s>`, … instead, but for the last two. Of finished tasks only the
newest are rows (`bounding/bounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

from maestro.model.events import AnyFact, Event, TaskCancelRequested, TaskDispatched, TaskFinished, TaskRetried
from maestro.model.target import who
from maestro.model.task import CHANGES, Task, dispatched

NAME = "tasks"
VERSION = 7
FOLLOWS_LINE = True
ENDED = "finished"
ENDS = (TaskDispatched, TaskFinished, TaskRetried, TaskCancelRequested)

OF_STEPS = "step:"
"""What the indexes of tasks of workflows' steps begin with."""

Rows = dict[str, Task]
_decoder = msgspec.json.Decoder(Task)


touches: Callable[[Event], str] = attrgetter("fact.task")
"""The id of the row that an event changes. event: one whose fact `folds` handles."""


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""
    found = rows.get

    def new(event: Event) -> None:
        fact = event.fact
        assert isinstance(fact, TaskDispatched)
        rows[fact.task] = dispatched(fact, event)

    def changing(change: Callable[[Task, Any, Event], None]) -> Callable[[Event], None]:
        def fold(event: Event) -> None:
            fact = event.fact
            row = found(fact.task)  # type: ignore[union-attr]  # as in touches
            if row is not None:
                change(row, fact, event)

        return fold

    return {TaskDispatched: new, **{fact: changing(change) for fact, change in CHANGES.items()}}


def ended(row: Task) -> int:
    """The position at which a task has finished, 0 while it is open."""
    return 0 if row.open else row.version


def indexes(row: Task) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    status, position, of = row.status, row.position, OF_STEPS if row.workflow else ""
    scores = {f"{of}all": position, f"{of}status:{status}": position}
    finished = not row.open
    if finished:
        scores["finished"] = row.version
    for agent in agents(row):
        scores[f"{of}agent:{agent}"] = position
        scores[f"{of}status:{status}:agent:{agent}"] = position
        if finished:
            scores[f"finished:agent:{agent}"] = row.version
    return scores


def decode(_row_id: str, data: bytes) -> Task:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)


def agents(row: Task) -> set[str]:
    """The agents that a task concerns: its targets as named, and the agents that had a run."""
    found = set()
    for slot in row.slots:
        found |= {slot.target, who(slot.target)}
        for run in slot.runs:
            found.add(run.agent)
    return found
