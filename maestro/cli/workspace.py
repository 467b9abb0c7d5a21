"""`maestro workspace`: the folders that agents work in."""

from __future__ import annotations

import typer

from maestro.cli import answer
from maestro.cli.column import Column
from maestro.cli.options import AgentArgument, FormatOption, examples
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="workspace", help="The folders that agents work in.")

WORKSPACES = (
    Column("agent", "AGENT"),
    Column("workspace", "WORKSPACE", cuts="start"),
    Column("node", "NODE", leaves=1),
    Column("exists", "EXISTS"),
    Column("stranded", "STRANDED", leaves=4),
    Column("bytes", "BYTES", leaves=2),
    Column("left", "LEFT OVER", cuts="end"),
    Column("why", "UNSEEN AS", cuts="end"),
)


@app.command("list", epilog=examples("maestro workspace list"))
def list_(format: FormatOption = None) -> int:
    """The agents' workspaces."""
    return answer.rows(p.WorkspaceList(), WORKSPACES, format, "no workspaces")


@app.command("clean", epilog=examples("maestro workspace clean code-reviewer"))
def clean(agent: AgentArgument, format: FormatOption = None) -> int:
    """Stop an agent and delete what is in its workspace."""
    return answer.one(p.WorkspaceClean(agent), format)
