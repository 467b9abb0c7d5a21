"""The forms in which a task is printed: its id, its state, all of it, with its final texts."""

from __future__ import annotations

from maestro.cli import printer
from maestro.cli.printer import Row
from maestro.cli.results import write_ends, write_sections
from maestro.cli.task_columns import RUNS
from maestro.cli.task_explanation import status_line
from maestro.library.final_texts import texts_of


def show_id(task: Row) -> None:
    """The id alone."""
    printer.write_line(str(task.get("id", "")))


def show_state(task: Row) -> None:
    """A line: id and status."""
    printer.write_line(f"{task['id']}  {task['status']}")


def show_ids(task: Row) -> None:
    """The id, and those of what was retried with it."""
    for name in (task.get("id", ""), *task.get("dependants", ())):
        printer.write_line(str(name))


def show_whole(task: Row) -> None:
    """All of it, with its final texts, whole."""
    show_task(task)
    printer.write(b"\n")
    write_sections(texts_of(task))


def show_end(task: Row) -> None:
    """A task that was waited for, with what its agents said last."""
    show_task(task)
    write_ends(task)


def show_task(task: Row) -> None:
    """All of it: its fields, a table of its runs, and in the last line why it does not go on."""
    printer.write_object(task, ("runs", "slots", "results", "version", "waiting_for", "waiting_since", "to_go_on"))
    if task.get("runs"):
        printer.write(b"\n")
        printer.write_table(RUNS, task["runs"])
    line = status_line(task)
    if line:
        printer.write(b"\n")
        printer.write_line(line)
