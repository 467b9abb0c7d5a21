"""`maestro task explain`, and the line in which a task or a run says why it does not go on."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import Row
from maestro.runtime.protocol import messages as p

EXAMPLES = examples(
    "maestro task explain 01J9…",
    "maestro task explain $(maestro task list --status queued | jq -r '.[0].id')",
    "maestro task explain 01J9… --format json | jq -r '.reasons[].to_go_on'",
    "maestro task explain $(maestro workflow runs --last | jq -r .id)   # a workflow's run, step by step",
)


def explain(
    id: Annotated[
        str,
        typer.Argument(help="Id of a task, or of a run of a workflow.", autocompletion=completion.tasks_and_runs),
    ],
    format: FormatOption = None,
) -> int:
    """Why a task does not go on, since when, and what would let it; for each target, and the task that it waits for.

    Of a task that has ended: how, and what would try it again. Of a run of a workflow: of each step that is on. It
    changes nothing.
    """
    return answer.one(p.TaskExplain(id), format, show)


def show(row: Row) -> None:
    """A line for the whole, one for each reason, and below these what keeps the task that is waited for."""
    printer.write_line(f"{row['kind']} {row['id']} is {str(row['status']).replace('_', ' ')}: {row['title']}")
    deep = 1
    below: Row | None = row
    while below:
        for reason in below["reasons"]:
            of = reason.get("target") or reason.get("step") or ""
            named = f"{of}: " if of and (len(below["reasons"]) > 1 or reason.get("step")) else ""
            printer.write_line(f"{'  ' * deep}{named}{reason_line(reason)}")
        below = below.get("because")
        if below:
            printer.write_line(f"{'  ' * deep}task {below['id']}:")
        deep += 1


def reason_line(reason: Row) -> str:
    """A reason as one line."""
    told = f"waits: {reason['what']}" if reason["waits"] else str(reason["what"])
    is_over = not reason["waits"] and reason["reason"] != "running"
    return told + _since(reason["since"], "at" if is_over else "since") + _way(reason["to_go_on"], told)


def status_line(task: Row) -> str:
    """The last line of a task's status: what it waits for; of one that has ended badly, what tries it again."""
    if task.get("waiting_for"):
        told = f"waits: {task['waiting_for']}"
        return told + _since(task.get("waiting_since")) + _way(task.get("to_go_on"), told)
    return f"to go on: {task['to_go_on']}" if task.get("to_go_on") else ""


def _since(moment: str | None, word: str = "since") -> str:
    return f", {word} {printer.moment(moment)}" if moment else ""


def _way(way: str | None, told: str) -> str:
    """What would let it go on, where that is not said already."""
    return f"; to go on: {way}" if way and way not in told else ""
