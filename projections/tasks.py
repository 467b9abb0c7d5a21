"""The view `tasks`: every task of the line with its slots and runs, one row a task, row id = task id.

Indexes, by position of the dispatch: `all`, `status:<s>`, `agent:<a>` and `status:<s>:agent:<a>`, where an agent is
each named target and each agent that had a run; `finished` and `finished:agent:<a>`, by position of the end.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias, cast

import msgspec

from maestro.model import events as e
from maestro.model.task import Task, evolve

NAME = "tasks"
VERSION = 1
FOLLOWS_LINE = True

TaskFact: TypeAlias = (
    e.TaskDispatched
    | e.TaskCancelRequested
    | e.TaskRetried
    | e.TaskFinished
    | e.RunReleased
    | e.RunStarted
    | e.RunSessionOpened
    | e.RunUsageReported
    | e.RunEnded
    | e.RunParked
)
FACTS: tuple[type[e.AnyFact], ...] = TaskFact.__args__

_decoder = msgspec.json.Decoder(Task)


def touches(event: e.Event) -> tuple[str, ...]:
    """The row that the event changes. The event is one of FACTS."""
    return (cast(TaskFact, event.fact).task,)


def apply(rows: MutableMapping[str, Task], event: e.Event) -> None:
    """Fold one event of FACTS into the rows, in place."""
    task: str = event.fact.task  # type: ignore[union-attr]  # the hottest line of a replay: a cast is a call
    row = evolve(rows.get(task), event)
    if row is not None:
        rows[task] = row


def indexes(row: Task) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    status, position = row.status, row.position
    scores = {"all": position, f"status:{status}": position}
    finished = not row.open
    if finished:
        scores["finished"] = row.version
    for agent in agents(row):
        scores[f"agent:{agent}"] = position
        scores[f"status:{status}:agent:{agent}"] = position
        if finished:
            scores[f"finished:agent:{agent}"] = row.version
    return scores


def decode(_row_id: str, data: bytes) -> Task:
    """A row from its canonical JSON."""
    return _decoder.decode(data)


def agents(row: Task) -> set[str]:
    """Whom a task concerns: its targets as named, and the agents that had a run."""
    found = {slot.target for slot in row.slots}
    for slot in row.slots:
        for run in slot.runs:
            found.add(run.agent)
    return found
