"""The explanation of a workflow's run: why it, and each of its steps, does not go on, since when, what would let it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from maestro.model.ids import typed_instance
from maestro.model.scheduling.ways import way_on
from maestro.model.workflow.run import Run
from maestro.model.workflow.status import PERMISSION, Row, Surroundings, steps_of

WHOLE: Final = ("group", "pause", "budget")
"""What holds a run as a whole."""


class Held(NamedTuple):
    """Why a run, or one of its steps (an instance), does not go on. since: as `Surroundings.when` writes it.

    reason: one of `ways.REASONS`, `running` where nothing keeps it, or how the run has ended. text: what it waits for,
    in words; way: what would let it go on; task: the attempt that is meant, "" for none.
    """

    step: str
    reason: str
    text: str
    since: str | None
    way: str
    waits: bool = True
    task: str = ""


def held_steps(run: Run, around: Surroundings) -> list[Held]:
    """Of a run that is open: itself where it is held as a whole, and each step that is on; else how it has ended.

    Steps that wait for others are left out where anything else is told.
    """
    if run.ended:
        again = f"maestro workflow run {run.fact.workflow} --resume-from failed --run {run.id}"
        way = "" if run.status == "completed" else again
        return [Held("", run.status, run.why or run.status, around.when(run.ended_at), way, False)]
    rows = list(steps_of(run, around))
    found = [*_whole(run, around, rows), *(_step(run, row) for row in rows if _is_on(row))]
    return found or [_needs(row) for row in rows if row["waiting_for"] == "needs"]


def _whole(run: Run, around: Surroundings, rows: list[Row]) -> Iterator[Held]:
    """What holds a run as a whole: its group, a pause, a budget, nodes that take no work."""
    since = around.when(run.started_at)
    paused = "budget" if run.paused == "budget" else "pause" if run.paused else around.held
    if run.status == "queued":
        told = f"run {around.holder}, which has the group {run.fact.group}" if around.holder else "its group"
        about = around.holder or run.id
        yield Held("", "group", told, since, way_on("group", about))
    elif paused:
        above = f"a run above run {run.id}" if not run.paused else f"run {run.id}"
        told = f"{above}, {'whose budget is used up' if paused == 'budget' else 'which is paused'}"
        about = run.id if run.paused else run.fact.parent
        at = run.paused_at if run.paused else around.held_at
        since = around.when(at) if at > run.started_at else since
        yield Held("", paused, told, since, way_on(paused, about))
    elif around.idle and not any(row["status"] == "running" for row in rows):
        yield Held("", "node_held", around.idle, None, way_on("node_held"))


def _is_on(row: Row) -> bool:
    return row["status"] == "running" or (
        row["status"] == "waiting" and row["waiting_for"] not in (None, "needs", *WHOLE)
    )


def _step(run: Run, row: Row) -> Held:
    """Why an instance does not go on; or that it does."""
    name, since, task = str(row["id"]), row.get("since"), str(row.get("task") or "")
    if row["waiting_for"] == PERMISSION:
        return Held(name, PERMISSION, str(row["reason"]), since, way_on(PERMISSION, task), True, task)
    if row["status"] == "running":
        return Held(name, "running", f"step {name} runs", since, "", False, task)
    match row["waiting_for"]:
        case "approval":
            told = f"an answer to: {row.get('prompt') or name}"
            return Held(name, "approval", told, since, way_on("approval", run.id, typed_instance(name)))
        case "child":
            child = str(row.get("child"))
            return Held(name, "child", f"run {child}, which it has started", since, way_on("child", child))
        case "restore":
            return Held(name, "restore", "its workspace to be as it was", since, way_on("restore"))
        case "items":
            return Held(name, "items", "an item before it, as only so many run at a time", since, way_on("items"))
        case "retry":
            return Held(name, "retry", f"its next attempt at {row.get('due')}", since, way_on("retry"))
    if task:
        told = str(row.get("reason") or "its turn")
        return Held(name, "step", told, since, way_on("step", task), True, task)
    return Held(name, "ready", "its turn", since, way_on("ready"))


def _needs(row: Row) -> Held:
    """A step that waits for others."""
    told = ", ".join(row.get("needs") or ()) or "others"
    return Held(str(row["id"]), "needs", told, row.get("since"), way_on("needs"))
