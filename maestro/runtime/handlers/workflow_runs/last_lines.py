"""What the agents of a run have printed last, on this node: a line for each instance that works."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import trio

from maestro.model.task import Run, Task
from maestro.runtime.handlers.run_output import newest_lines
from maestro.runtime.node.context import Context
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.node.run_reader import run_of
from maestro.runtime.server.rows import Row

SHOWN_MAX = 40
"""Of how many instances: a terminal hardly has more lines."""
FAILED = ("failed", "timed_out")


async def last_lines_of(context: Context, rows: Iterable[Row]) -> dict[str, str]:
    """The last line of each instance that works here, by its id."""
    folders: dict[str, str] = {}
    for row in rows:
        if row["status"] == "running" and row["task"] and len(folders) < SHOWN_MAX:
            run = _running(context, row["task"])
            if run is not None and run.folder and run.node == context.node:
                folders[row["id"]] = run.folder
    return await trio.to_thread.run_sync(_read, folders) if folders else {}


async def add_last_lines(context: ReadContext, run: Row) -> None:
    """Tell of the instances of a run that failed here what they have printed last, as `last_line`."""
    failed: dict[str, Row] = {}
    for row in () if context.is_past else run["steps"]:
        if row["status"] in FAILED and (task := row.get("task") or await _failed_in(context, row.get("child"))):
            failed[task] = row
    if not failed:
        return
    tasks: list[Task] = await context.rows(context.views.tasks_named, list(failed)[:SHOWN_MAX])
    last = {task.id: slot.runs[-1] for task in tasks for slot in task.slots if slot.runs}
    folders = {task: one.folder for task, one in last.items() if one.folder and one.node == context.node}
    for task, line in (await context.call(_read, folders)).items():
        failed[task]["last_line"] = line


async def _failed_in(context: ReadContext, child: str | None) -> str | None:
    """The task that failed in a child run, or in a child of that."""
    while child:
        header = await context.row(context.views.workflow_run, child)
        run = None if header is None else (await run_of(context, header))[0]
        found = [] if run is None else [one for one in run.instances.values() if one.status in FAILED]
        one = next((one for one in found if one.task or one.child), None)
        if one is None or one.task:
            return one.task if one is not None else None
        child = one.child
    return None


def _running(context: Context, task: str) -> Run | None:
    """The run that is on, of a task that the daemon knows."""
    known: Task | None = context.daemon.follower.known(task) if context.daemon else None
    runs = [slot.runs[-1] for slot in known.slots if slot.runs] if known is not None else []
    return next((run for run in runs if run.status == "running"), None)


def _read(folders: dict[str, str]) -> dict[str, str]:
    found = {}
    for id, folder in folders.items():
        try:
            lines = newest_lines(Path(folder) / "agent.log", 1)
        except OSError:
            continue
        if lines:
            found[id] = lines[-1].expandtabs(4).strip()
    return found
