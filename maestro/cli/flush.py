"""`maestro redis flush`: deletes this namespace from the store, and nothing else in it."""

from __future__ import annotations

import datetime
import sys
from typing import Annotated

import typer

from maestro import config
from maestro.cli import answer
from maestro.cli.options import FormatOption, absolute, examples
from maestro.config import Settings, open_home
from maestro.folders import private_folder
from maestro.model.errors import Invalid, Refused
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="redis", help="The store itself.")


@app.command(
    "flush",
    epilog=examples("maestro redis flush", "maestro redis flush --confirm default --backup /backups/log.jsonl"),
)
def flush(
    confirm: Annotated[str | None, typer.Option("--confirm", help="The namespace's name, for scripts.")] = None,
    backup: Annotated[
        str | None,
        typer.Option("--backup", help="Where the export of the log goes, to be read; below MAESTRO_HOME if not given."),
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Export nothing: what is deleted is gone.")] = False,
    format: FormatOption = None,
) -> int:
    """DANGER: delete all tasks, agents, state and history of this namespace.

    The log is exported as JSON Lines first: to be read, as no command loads it again. To be able to come back, take
    `maestro state snapshot --output X.tar.gz` before: `maestro state restore X.tar.gz` brings it all back.
    """
    if backup is not None and no_backup:
        raise Invalid("both --backup and --no-backup", "redis flush", "give one of them")
    settings = config.load()
    name = _asked(settings.namespace) if confirm is None else confirm
    if name != settings.namespace:
        raise Refused(
            f"{name!r} is not the name of this namespace",
            "redis flush",
            f"it is {settings.namespace!r}; nothing was deleted",
        )
    path = None if no_backup else _backup_path(settings, backup)
    return answer.one(p.RedisFlush(name, path), format)


def _asked(namespace: str) -> str:
    if sys.stdin is None or not sys.stdin.isatty() or sys.stderr is None:
        raise Invalid("nobody is there to confirm", "redis flush", f"give --confirm {namespace} if you mean it")
    sys.stderr.write(f"This deletes all events, tasks, agents and state of the namespace {namespace!r}.\n")
    sys.stderr.write("Only a snapshot brings them back: `maestro state snapshot --output X.tar.gz` takes one.\n")
    sys.stderr.write("Type its name to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _backup_path(settings: Settings, backup: str | None) -> str:
    if backup is not None:
        return absolute(backup, "--backup")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    exports = private_folder(open_home(settings) / "exports", "the folder of exports")
    return str(exports / f"{settings.namespace}-{now}.jsonl")
