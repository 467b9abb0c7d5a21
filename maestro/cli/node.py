"""`maestro node`: the nodes and their load, and the end of one."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro import config
from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="node", help="The hosts that run a daemon.")

NODES = (
    Column("id", "NODE"),
    Column("host", "HOST", cuts="end", leaves=4),
    Column("state", "STATE"),
    Column("drained", "DRAINED", leaves=7),
    Column("running", "RUNS"),
    Column("max_concurrent", "MAX"),
    Column("labels", "LABELS", cuts="end", leaves=5),
    Column("heartbeat_age_s", "HEARTBEAT", printer.seconds, leaves=6),
    Column("archive", "ARCHIVE", cuts="end", leaves=3),
    Column("build", "BUILD", leaves=1),
    Column("joined_at", "JOINED", printer.moment, leaves=2),
)
NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="The id of the node.", autocompletion=completion.nodes)
]


@app.command("list", epilog=examples("maestro node list"))
def list_(format: FormatOption = None) -> int:
    """The nodes and their load."""
    return answer.rows(p.NodeList(), NODES, format, "no nodes; start one with `maestro up`")


@app.command("drain", epilog=examples("maestro node drain build-2", "maestro node drain build-2 --undo"))
def drain(
    node: NodeArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Take work again.")] = False,
    format: FormatOption = None,
) -> int:
    """Have a node take nothing new and finish what runs; then its daemon ends. --undo on the node itself starts it."""
    from maestro.runtime.node.identity import node_id

    command = p.NodeDrain(node, undo)
    settings = config.load()
    if not (undo and settings.autostart and node == node_id(config.open_home(settings))):
        return answer.one(command, format)
    end = answer.carry_out(command, lambda _: None)
    return end.exit_code or answer.one(p.Up(), format)


@app.command("forget", epilog=examples("maestro node forget build-2"))
def forget(node: NodeArgument, format: FormatOption = None) -> int:
    """Give up a node that is away for good: what it left in the shared archive may be collected."""
    return answer.one(p.NodeForget(node), format)
