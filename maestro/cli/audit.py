"""`maestro audit`: who did what, when and why, from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer
from maestro.cli.options import FormatOption, SinceOption, examples
from maestro.cli.printing import Column
from maestro.runtime import protocol as p

app = typer.Typer()

AUDIT = (
    Column("seq", "SEQ"),
    Column("at", "AT"),
    Column("type", "EVENT"),
    Column("subject", "SUBJECT"),
    Column("actor", "ACTOR"),
    Column("cause", "CAUSE"),
    Column("text", "WHAT"),
)


@app.command(
    "audit",
    epilog=examples("maestro audit task:01J9…", "maestro audit --since 1h --type run.ended", "maestro audit -f"),
)
def audit(
    subject: Annotated[
        str | None, typer.Argument(help="As task:01J9…, agent:tester, state:api_port; a bare id is a task's.")
    ] = None,
    since: SinceOption = None,
    type: Annotated[str | None, typer.Option("--type", help="Only these events, e.g. run.ended.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    format: FormatOption = None,
) -> int:
    """Who did what, when and why; of a task its whole timeline with causes."""
    command = p.Audit(subject, since, type, follow)
    if follow:
        return answer.stream(command, AUDIT, format)
    return answer.rows(command, AUDIT, format, "no such events")
