"""`maestro node`: the nodes and their load."""

from __future__ import annotations

import typer

from maestro.cli import answer, printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="node", help="The hosts that run a daemon.")

NODES = (
    Column("id", "NODE"),
    Column("host", "HOST", cuts="end", leaves=4),
    Column("status", "STATUS"),
    Column("held", "HELD", leaves=3),
    Column("running", "RUNS"),
    Column("max_concurrent", "MAX"),
    Column("build", "BUILD", leaves=1),
    Column("joined_at", "JOINED", printer.moment, leaves=2),
)


@app.command("list", epilog=examples("maestro node list"))
def list_(format: FormatOption = None) -> int:
    """The nodes and their load."""
    return answer.rows(p.NodeList(), NODES, format, "no nodes; start one with `maestro up`")
