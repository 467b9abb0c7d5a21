"""One task, and one run of a workflow, at a position: what their commands tell, and what a page shows beside it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from maestro.board.rows.graph import graph_row
from maestro.board.rows.past_context import PastContext, answered
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.events import ready
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Entry, LogStore
from replayers import export

EVENTS_MAX: Final = 50
TASKS_MAX: Final = 1_000
"""Of so many tasks of a run's steps the newest runs are looked up."""

Row = dict[str, Any]


def task_detail(context: PastContext, task: str) -> Row:
    """A task by its id, or the beginning of one: {row, runs, explain, events}. Raises NotFound, Invalid."""
    row: Row = answered(context, p.TaskStatus(id=task))[1].data
    told = answered(context, p.TaskExplain(row["id"]))[1].data
    found = context.views.task(row["id"]).row
    return {
        "row": row,
        "runs": [{"run": run["id"], **run} for run in row["runs"]],
        "explain": told,
        "events": [] if found is None else newest_events(context.store.log, found),
    }


def newest_events(log: LogStore, task: Task) -> list[Row]:
    """The newest events of a task and of its runs, newest first, as `events tail` shows them.

    Each leads to the one before it of the same subject; a restore cuts that off.
    """
    lines = [_backwards(log, f"task:{task.id}", task.version)]
    lines += [_backwards(log, f"run:{run.id}", run.version) for slot in task.slots for run in slot.runs[-EVENTS_MAX:]]
    merged = heapq.merge(*lines, key=lambda entry: entry.seq, reverse=True)
    return [ready(export.plain(entry)) for entry, _ in zip(merged, range(EVENTS_MAX), strict=False)]


def _backwards(log: LogStore, subject: str, seq: int) -> Iterator[Entry]:
    """The entries of a subject from a position back."""
    name = subject.encode()
    while seq > 0:
        found = log.entries(seq - 1, 1)
        if not found or found[0].subject != name:
            return
        yield found[0]
        seq = found[0].prev


def run_detail(context: PastContext, run: str) -> Row:
    """A run of a workflow by its id, or the beginning of one: {row, graph}. Raises NotFound, Invalid."""
    row: Row = answered(context, p.WorkflowStatus(id=run))[1].data
    header: RunHeader | None = context.views.workflow_run(row["id"]).row
    assert header is not None
    whole, _ = read_run(context.store, header)
    tasks = [step["task"] for step in row["steps"] if step.get("task")][-TASKS_MAX:]
    newest = {
        task.id: slot.runs[-1].id for task in context.views.tasks_named(tasks).rows for slot in task.slots if slot.runs
    }
    return {"row": row, "graph": graph_row(whole, row["steps"], newest)}
