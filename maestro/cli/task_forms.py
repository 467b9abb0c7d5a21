"""The forms in which a task is printed: its id, its state, all of it, with its final texts."""

from __future__ import annotations

from maestro.cli import printer
from maestro.cli.printer import Row
from maestro.cli.results import texts_of, write_ends, write_sections
from maestro.cli.task_columns import RUNS


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
    """All of it: its fields, then a table of its runs."""
    printer.write_object(task, ("runs", "slots", "results", "version"))
    if task.get("runs"):
        printer.write(b"\n")
        printer.write_table(RUNS, task["runs"])
