"""`maestro fork`: a namespace of its own whose log begins with the history of this one."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from maestro.cli import answer, printer
from maestro.cli.column import Column
from maestro.cli.options import TIME_HELP, FormatOption, absolute, examples
from maestro.cli.printer import Row
from maestro.cli.restores import DryRunOption
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.amounts import size

app = typer.Typer()

WORKSPACES = (
    Column("agent", "AGENT"),
    Column("workspace", "WORKSPACE", wraps=True, leaves=4),
    Column("snapshot", "FROM", leaves=2),
    Column("events_apart", "EVENTS APART", leaves=1),
    Column("why", "EMPTY, AS", wraps=True),
)
NAMED_MAX = 10


@app.command(
    "fork",
    epilog=examples(
        "maestro fork --into trial --root ~/trial",
        "maestro fork --at 1234 --into trial --root ~/trial",
        "maestro fork --at 1234 --into trial --root ~/trial --dry-run",
        "maestro fork --at 10m --into trial --root ~/trial && . ~/trial/env && maestro replay verify",
    ),
)
def fork(
    into: Annotated[str, typer.Option("--into", metavar="NS", help="Name of the new namespace, which has no log yet.")],
    root: Annotated[
        str, typer.Option("--root", metavar="DIR", help="Folder of the fork, which is made; it must not be there yet.")
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", help=f"Up to when the history goes; up to now if not given. {TIME_HELP} Or a position."),
    ] = None,
    dry_run: DryRunOption = False,
    format: FormatOption = None,
) -> int:
    """Make a namespace whose log begins with the history of this one, to try something there.

    Archives and workspaces are copied; nothing is changed here, and nothing runs there: what was open is cancelled,
    schedules are disabled. `. DIR/env` has a shell use the fork.
    """
    command = p.Fork(into, absolute(root, "--root"), at, dry_run)
    return answer.one(command, format, _show_plan if dry_run else _show, None if dry_run else _hint)


def _show(row: Row) -> None:
    printer.write_line(f"{row['namespace']} has the history of {row['source']} up to {_where(row)}")
    _show_contents(row)


def _show_plan(row: Row) -> None:
    printer.write_line(f"{row['namespace']} would have the history of {row['source']} up to {_where(row)}")
    printer.write_line(f"where: {row['root']}")
    blobs, archives = row["blobs"], row["archives"]
    printer.write_line(
        f"copied: {row['events']} events with its own, {_counted(blobs['count'], 'blob')} ({size(blobs['bytes'])}), "
        f"{_counted(archives['files'], 'file')} of archives ({size(archives['bytes'])})"
    )
    of = f" of {size(row['disk_free_bytes'])} free" if row["disk_free_bytes"] is not None else ""
    printer.write_line(f"disk needed: {size(row['disk_needed_bytes'])}{of}, without the log")
    _show_contents(row)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _where(row: Row) -> str:
    return f"position {row['position']}, {printer.moment(row['at'])}"


def _show_contents(row: Row) -> None:
    printer.write_table(WORKSPACES, row["workspaces"], "no workspaces")
    for what, key in (
        ("snapshots copied", "snapshots"),
        ("tasks cancelled", "cancelled"),
        ("workflow runs cancelled", "cancelled_workflow_runs"),
        ("schedules disabled", "schedules_disabled"),
        ("schedules disabled of workflows", "workflows_disabled"),
        ("deliveries dropped", "deliveries_dropped"),
    ):
        if row[key]:
            more = f" and {len(row[key]) - NAMED_MAX} more" if len(row[key]) > NAMED_MAX else ""
            printer.write_line(f"{what}: {', '.join(row[key][:NAMED_MAX])}{more}")


def _hint(row: Row) -> None:
    printer.tell(f"to use it: . {shlex.quote(row['env'])}")
