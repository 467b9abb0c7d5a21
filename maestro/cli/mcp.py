"""`maestro mcp`: a server of the Model Context Protocol on stdin and stdout, which agents start."""

from __future__ import annotations

import os
import sys

import msgspec
import typer

from maestro import config
from maestro.cli.options import examples
from maestro.model.definition import Delegate
from maestro.model.errors import Refused
from maestro.runtime.client import client, connection

app = typer.Typer()


@app.command("mcp", epilog=examples("claude mcp add maestro -- maestro mcp", "codex mcp add maestro -- maestro mcp"))
def mcp() -> None:
    """Serve tools to an AI agent over the Model Context Protocol, on stdin and stdout, until stdin ends.

    Agents start it by themselves: `maestro help mcp` says how they are told to. Inside a run it offers what the run
    may use.
    """
    settings = config.load()
    inside = client.is_inside_run()
    try:
        from maestro.mcp import server
    except ModuleNotFoundError as error:
        mend = (
            f"install Maestro with its extra mcp, in its folder: {sys.executable} -m pip install '.[mcp]', or as it "
            "was installed: uv tool install --force '.[mcp]', pipx install --force '.[mcp]'"
        )
        package = str(error.name).partition(".")[0]
        raise Refused(f"the MCP server needs the package {package}", mend=mend) from None
    connection.speaks_as = "mcp"
    server.serve(settings, inside, _delegate())


def _delegate() -> Delegate | None:
    """What the run around this process may dispatch, as its environment tells; the daemon decides."""
    told = os.environ.get("MAESTRO_DELEGATE")
    try:
        return msgspec.json.decode(told, type=Delegate) if told else None
    except msgspec.DecodeError:
        return None
