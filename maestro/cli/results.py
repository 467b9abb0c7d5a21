"""`maestro task result`: the final texts of a task's agents, as they are into a file, and made safe on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.cli import answer, printer
from maestro.cli.printer import Row
from maestro.library.final_texts import texts_asked_for, texts_of
from maestro.runtime.protocol import messages as p

LINES_MAX = 20
"""So many lines of each final text are shown below a task that was waited for."""


def print_results(task: str, agent: str | None, chosen: str | None) -> int:
    """Print the final texts of a task, or of one agent of it. chosen: the value of --format. Returns the exit code.

    Raises Refused for a task that no agent has ended a run of yet, NotFound for an agent that has no part in it.
    """
    kept: list[Row] = []
    end = answer.carry_out(p.TaskStatus(task), kept.append)
    if isinstance(end, p.Failed):
        return end.exit_code
    row: Row = end.data
    texts = texts_asked_for(row, agent)
    if row["finished_at"] is None:
        printer.tell(f"task {row['id']} is {row['status']}: these are the texts of those that have ended")
    if chosen == "json" or (len(texts) > 1 and printer.wants_json(chosen)):
        printer.write_json(texts)
    elif len(texts) > 1:
        write_sections(texts)
    else:
        _write_one(row, next(iter(texts.values()), ""))
    return 0


def write_ends(task: Row) -> None:
    """Write the last lines of each final text of a task that has ended, for a terminal, and how to see the rest."""
    texts = {name: text for name, text in texts_of(task).items() if text}
    for name, text in texts.items():
        lines = text.rstrip("\n").split("\n")
        left = len(lines) - LINES_MAX
        more = f" (the last {LINES_MAX} of {len(lines)} lines: maestro task result {task['id']})" if left > 0 else ""
        printer.write_line("")
        printer.write_line(f"== {name} =={more}")
        printer.write_text("\n".join(lines[-LINES_MAX:]) + "\n")


def write_sections(texts: Mapping[str, str]) -> None:
    """Write texts below each other, each under a heading with its agent."""
    for number, (name, text) in enumerate(texts.items()):
        printer.write(b"\n" if number else b"")
        printer.write_line(f"== {name} ==")
        printer.write_text(text if text.endswith("\n") or not text else f"{text}\n")


def _write_one(task: Row, text: str) -> None:
    if not text and not task["runs"]:
        printer.tell(f"task {task['id']} is {task['status']} and never ran: {task['reason']}")
    elif not text:
        printer.tell(
            f"task {task['id']} ({task['status']}) has no final text; maestro task logs {task['id']} shows its output"
        )
    elif printer.is_terminal() and not text.endswith("\n"):
        printer.write_text(f"{text}\n")
    else:
        printer.write_text(text)
