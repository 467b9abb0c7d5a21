"""`maestro schedule`: commands that recur."""

from __future__ import annotations

import os
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import Row
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.commands.monitor import SCHEDULABLE

app = typer.Typer(name="schedule", help="Commands that are carried out again and again.")

POSSIBLE = {("state", "snapshot"), ("workflow", "run"), ("task", "dispatch"), ("workspace", "clean")}

SCHEDULES = (
    Column("id", "SCHEDULE"),
    Column("cron", "CRON"),
    Column("tz", "TZ", leaves=2),
    Column("next_at", "NEXT", printer.moment),
    Column("last_at", "LAST", printer.moment, leaves=4),
    Column("last_made", "MADE", leaves=3),
    Column("last_why", "FAILED", cuts="end"),
    Column("left_out", "LEFT OUT", leaves=5),
    Column("node", "NODE", leaves=1),
    Column("command", "COMMAND", cuts="end"),
)
NameArgument = Annotated[
    str, typer.Argument(help="Name of a schedule.", autocompletion=completion.command_schedules, show_default=False)
]
AnyNameArgument = Annotated[
    str,
    typer.Argument(help="Name of a schedule, or WORKFLOW#N of a workflow's own.", autocompletion=completion.schedules),
]


class Missed(StrEnum):
    """What becomes of due times that nobody was there for."""

    once = "once"
    skip = "skip"


@app.command(
    "add",
    epilog=examples(
        'maestro schedule add hourly --cron "0 * * * *" -- state snapshot',
        'maestro schedule add nightly --cron "30 2 * * *" --tz Europe/Berlin -- workflow run deploy',
        'maestro schedule add morning --cron "0 8 * * MON-FRI" --missed skip -- task dispatch @prompt.md --to reviewer',
        'maestro schedule add tidy --cron "0 4 * * SUN" -- workspace clean scratch',
    ),
)
def add(
    name: Annotated[str, typer.Argument(help="Its name; the same name again replaces it.")],
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help=f"What to carry out, as behind `maestro`: {SCHEDULABLE}."),
    ],
    cron: Annotated[
        str,
        typer.Option("--cron", metavar="CRON", help="Minute, hour, day of the month, month, day of the week."),
    ],
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone of it, as Europe/Berlin.")] = "UTC",
    missed: Annotated[
        Missed, typer.Option("--missed", help="What was due while nobody was there: once for all of it, or not at all.")
    ] = Missed.once,
    format: FormatOption = None,
) -> int:
    """Have a command carried out again and again, by the nodes: no terminal need be open.

    The command is checked now; texts and files that it names are read now. A firing waits for nothing, and while what
    one has begun is still on, no other begins. `maestro help monitoring` has the rules of due times.
    """
    kept = _kept(command)
    wanted = p.ScheduleAdd(name, cron, command, msgspec.to_builtins(kept), tz, missed.value)
    return answer.one(wanted, format, _show)


def _kept(words: list[str]) -> p.Command:
    """The command that a command line would carry out, checked as it is typed. Raises as that, and Invalid."""
    from maestro.cli.app import parsed  # it imports this module

    if tuple(words[:2]) not in POSSIBLE:
        told = " ".join(words[:2])
        raise Invalid(f"`{told}` is nothing that a schedule carries out", "schedule add", f"use {SCHEDULABLE}")
    found = answer.kept(lambda: parsed(words))
    if isinstance(found, p.TaskBatch):
        if found.spooled:
            with suppress(OSError):
                os.unlink(found.path)  # noqa: PTH108 - no Path is needed for it
        raise Invalid("a schedule dispatches one task", "--batch", "add a schedule for each, or a workflow")
    if found is None:
        raise Invalid("it carries out nothing", "schedule add", f"use {SCHEDULABLE}")
    return found


@app.command("list", epilog=examples("maestro schedule list", "maestro schedule list | jq -r '.[].next_at'"))
def list_(format: FormatOption = None) -> int:
    """All schedules, those of workflows too: what is due next comes first."""
    return answer.rows(p.ScheduleList(), SCHEDULES, format, "no schedules; maestro schedule add makes one")


@app.command("remove", epilog=examples("maestro schedule remove nightly"))
def remove(name: NameArgument, format: FormatOption = None) -> int:
    """Remove a schedule; what it has begun goes on."""
    return answer.one(p.ScheduleRemove(name), format, _show)


@app.command("enable", epilog=examples("maestro schedule enable nightly"))
def enable(name: NameArgument, format: FormatOption = None) -> int:
    """Switch a schedule on; nothing that was due before fires. Of a workflow's own: `maestro workflow enable`."""
    return answer.one(p.ScheduleSwitch(name, True), format, _show)


@app.command("disable", epilog=examples("maestro schedule disable nightly"))
def disable(name: NameArgument, format: FormatOption = None) -> int:
    """Switch a schedule off. Of a workflow's own: `maestro workflow disable`."""
    return answer.one(p.ScheduleSwitch(name, False), format, _show)


@app.command("run", epilog=examples("maestro schedule run nightly", "maestro schedule run deploy#0 | jq -r .last_made"))
def run(name: AnyNameArgument, format: FormatOption = None) -> int:
    """Fire a schedule now, also one that is switched off; exit code 1 where what it carries out fails to begin.

    A task or a workflow's run is begun, not waited for. Refused (4) while what it began before is still on.
    """
    return answer.one(p.ScheduleRun(name), format, _show)


def _show(row: Row) -> None:
    printer.write_object(row)
