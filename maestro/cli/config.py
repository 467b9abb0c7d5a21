"""`maestro config`: the effective settings with the source of each, and the reset to the defaults."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro import config
from maestro.cli import printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import JsonRows
from maestro.model.errors import Invalid

app = typer.Typer(name="config", help="The settings of this installation.")

SETTINGS = (Column("name", "NAME"), Column("value", "VALUE", wraps=True), Column("source", "SOURCE", wraps=True))


@app.command("show", epilog=examples("maestro config show"))
def show(format: FormatOption = None) -> int:
    """The effective settings, and where each came from."""
    rows = config.show(config.load())
    if printer.wants_json(format):
        listed = JsonRows()
        for row in rows:
            listed.add(row)
        listed.end()
    else:
        printer.write_table(SETTINGS, rows)
    return 0


@app.command("reset", epilog=examples("maestro config reset --to-default"))
def reset(
    to_default: Annotated[bool, typer.Option("--to-default", help="Yes: back to the defaults.")] = False,
    format: FormatOption = None,
) -> int:
    """Put the config file aside. Workspaces, the store and variables of the environment stay as they are."""
    if not to_default:
        raise Invalid("nothing is reset without --to-default", "config reset", "give it if you mean it")
    backup = config.put_aside(config.config_path())  # without `load`: an unreadable file is a reason to reset
    if backup is None:
        printer.tell("there is no config file; all settings are the defaults or the environment's")
    data = {"reset": backup is not None, "backup": None if backup is None else str(backup)}
    if printer.wants_json(format):
        printer.write_json(data)
    else:
        printer.write_object(data)
    return 0
