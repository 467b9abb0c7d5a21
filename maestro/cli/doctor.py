"""`maestro doctor`: checks whether this machine is fit for Maestro, and says what to do where it is not."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.runtime.protocol import messages as p

app = typer.Typer()

CHECKS = (
    Column("check", "CHECK"),
    Column("status", "STATUS"),
    Column("detail", "DETAIL", wraps=True),
    Column("remedy", "REMEDY", wraps=True),
)


@app.command("doctor", epilog=examples("maestro doctor", "maestro doctor --accept-loss"))
def doctor(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on with a log that lost acknowledged events, and record that.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """Check the store's safety, versions, programs and modes of agent types, disk, isolation tools; with remedies."""
    return answer.rows(p.Doctor(accept_loss), CHECKS, format)
