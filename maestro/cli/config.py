"""`maestro config`: the effective settings with the source of each, the reset to the defaults, and the settings of the
namespace, which are events.
"""

from __future__ import annotations

from typing import Annotated

import typer

from maestro import config
from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import JsonRows, Row
from maestro.model.errors import Invalid, MaestroError
from maestro.model.settings.namespace_setting import DEFAULTS
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="config", help="The settings of this installation.")

SETTINGS = (Column("name", "NAME"), Column("value", "VALUE", wraps=True), Column("source", "SOURCE", wraps=True))


@app.command("show", epilog=examples("maestro config show"))
def show(format: FormatOption = None) -> int:
    """The effective settings, and where each came from; those of the namespace where a daemon runs here."""
    settings = config.load()
    rows = config.show(settings) + _of_namespace(settings)
    if printer.wants_json(format):
        listed = JsonRows()
        for row in rows:
            listed.add(row)
        listed.end()
    else:
        printer.write_table(SETTINGS, rows)
    return 0


def _of_namespace(settings: config.Settings) -> list[Row]:
    """The settings of the namespace, as the daemon knows them: nothing is started, and no store is asked, for this."""
    try:
        found = client.ask_daemon(p.SettingList(), settings)
    except (MaestroError, OSError):
        found = None
    if found:
        return [item.data for item in found]
    return [{"name": key, "value": "", "source": "namespace; shown where a daemon runs"} for key in DEFAULTS]


@app.command("set", epilog=examples("maestro config set views.keep 20000", "maestro config set views.keep default"))
def set_(
    key: Annotated[str, typer.Argument(help="The setting, e.g. views.keep.", autocompletion=completion.settings)],
    value: Annotated[str, typer.Argument(help="Its value; `default` for the default.")],
    format: FormatOption = None,
) -> int:
    """Change a setting of the namespace, for all of its nodes.

    views.keep: how many tasks, and runs of workflows, that have ended stay in the store; older ones are told from
    sealed history. A number from 100 to 10000000, by default 50000.
    """
    if not value:
        raise Invalid("the value is empty", "config set", "`default` sets it back")
    return answer.one(p.SettingSet(key, "" if value == "default" else value), format)


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
