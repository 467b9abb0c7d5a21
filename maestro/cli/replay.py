"""`maestro replay`: verify and rebuild the views, and show them as they were."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column, change_text, field_text
from maestro.cli.options import TIME_HELP, FormatOption, examples
from maestro.cli.printer import Row
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="replay", help="Fold the log again: verify, rebuild, look back.")

VIEWS = (Column("view", "VIEW"), Column("digest", "DIGEST", cuts="end"))
ROWS = (
    Column("row", "ROW"),
    Column("data", "DATA", lambda data: field_text(data, printer.value_text), cuts="end"),
)
CHANGES = (
    Column("view", "VIEW"),
    Column("row", "ROW"),
    Column("change", "CHANGE"),
    Column("data", "WHAT", cuts="end"),
)
PositionArgument = Annotated[
    str,
    typer.Argument(metavar="POSITION", help=f"A position (1234), a time, or how long ago. {TIME_HELP}"),
]


@app.command("verify", epilog=examples("maestro replay verify"))
def verify(format: FormatOption = None) -> int:
    """Fold the whole log again and compare: chain, views, digests. Exit code 6 with the first 100 differences."""
    return answer.one(p.ReplayVerify(), format, _show_report)


@app.command("rebuild", epilog=examples("maestro replay rebuild", "maestro replay rebuild tasks"))
def rebuild(
    view: Annotated[
        str | None,
        typer.Argument(
            help="The view whose digest is shown; without one, those of all.", autocompletion=completion.views
        ),
    ] = None,
    format: FormatOption = None,
) -> int:
    """Build all views again beside the live ones, then switch."""
    return answer.one(p.ReplayRebuild(view), format, _show_report)


@app.command("at", epilog=examples("maestro replay at 1200 tasks", "maestro replay at 2026-01-31T12:00:00Z agents"))
def at(
    position: PositionArgument,
    view: Annotated[str, typer.Argument(help="Name of a view.", autocompletion=completion.views)],
    format: FormatOption = None,
) -> int:
    """A view as it was."""
    command = p.ReplayAt(position, view)
    if printer.wants_json(format):
        return answer.rows(command, ROWS, format)
    kept: list[Row] = []
    end = answer.carry_out(command, lambda row: kept.append({"row": row.pop("row"), "data": row}))
    if isinstance(end, p.Done):
        printer.write_table(ROWS, kept, "no rows")
    return end.exit_code


@app.command("diff", epilog=examples("maestro replay diff 1200 1300"))
def diff(a: PositionArgument, b: PositionArgument, format: FormatOption = None) -> int:
    """What changed in the views between two positions."""
    command = p.ReplayDiff(a, b)
    if printer.wants_json(format):
        return answer.rows(command, CHANGES, format)
    kept: list[Row] = []
    end = answer.carry_out(command, lambda row: kept.append({**row, "data": _difference(row)}))
    if isinstance(end, p.Done):
        printer.write_table(CHANGES, kept, "no difference")
    return end.exit_code


def _difference(row: Row) -> str:
    """What a table says of a change: the fields that differ; of a row that came or went, all of its fields."""
    before, after = row.get("before") or {}, row.get("after") or {}
    if row.get("change") == "changed":
        return change_text(before, after, printer.value_text)
    return field_text(before or after, printer.value_text)


def _show_report(report: Row) -> None:
    views = report.get("views")
    listed = isinstance(views, list) and all(isinstance(view, dict) for view in views)
    printer.write_object(report, ("views",) if listed else ())
    if listed and views:
        printer.write(b"\n")
        printer.write_table(VIEWS, views)
