"""`maestro task dispatch --batch`: hands a file of tasks to the daemon; prints what is wrong with it, or the tasks."""

from __future__ import annotations

import os
import stat
import sys
import uuid
from pathlib import Path
from typing import IO

import typer
from click.core import ParameterSource

from maestro import config
from maestro.cli import answer, printer
from maestro.cli.escape import escaped
from maestro.cli.options import absolute
from maestro.cli.printer import Row
from maestro.cli.text_input import chunks
from maestro.model.errors import Invalid, NotFound
from maestro.runtime.protocol import messages as p

WITH = {"batch", "batch_key", "strict_key", "quiet", "format", "async_"}
"""The options that go with --batch: all that a task is given stands in its line."""
OWN = ("/dev/", "/proc/")
"""Where names of open files are, as /dev/stdin: to the daemon they would be others."""
WAITING = {"sync", "cancel_on_interrupt"}
WAIT = "leave it out: maestro task wait, with the ids that --quiet prints, waits for them"


def dispatch_batch(ctx: typer.Context, batch: str, key: str, strict_key: bool, chosen: str | None) -> int:
    """Dispatch a batch: errors as FILE:LINE on stderr; else a task a line, JSON, or ids on a terminal. The exit code.

    ctx: of the command, to find the options that do not go with --batch. chosen: the value of --format.
    """
    given = [str(name) for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if wrong := [name for name in given if name not in WITH]:
        name = wrong[0] if wrong[0] == "prompt" else f"--{wrong[0].replace('_', '-')}"
        mend = WAIT if wrong[0] in WAITING else "write it into the lines"
        raise Invalid(f"{name} does not go with --batch", "task dispatch", mend)
    as_json = printer.wants_json(chosen)

    def take(row: Row) -> None:
        if "error" in row:
            if sys.stderr is not None:
                print(escaped(f"{batch}:{row['line']}: {row['error']}"), file=sys.stderr)
        elif as_json:
            printer.write(printer.json_of(row) + b"\n")
        else:
            printer.write_line(str(row["id"]))

    home = config.open_home(config.load())
    copy = home / f"batch-{uuid.uuid4().hex}"  # named before it is made: an interruption at any point removes it
    try:
        path = _regular(batch, copy)
        command = p.TaskBatch(path, batch, key, strict_key, path == str(copy))
        return answer.carry_out(command, take).exit_code
    finally:
        copy.unlink(missing_ok=True)


def _regular(batch: str, copy: Path) -> str:
    """The absolute path of a regular file with the batch: the file itself, or `copy` of what can be read once only.

    copy: in MAESTRO_HOME, which the daemon shares; it deletes the copy as soon as that is open.

    Raises NotFound, Invalid.
    """
    if batch == "-":
        return _spooled(sys.stdin.buffer if sys.stdin is not None else None, copy)
    path = absolute(batch, "--batch")
    try:
        if stat.S_ISREG(os.stat(path).st_mode) and not path.startswith(OWN):  # noqa: PTH116 - its error has no path in it
            return path
        file = Path(path).open("rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise NotFound("no such file", batch) from None
    except OSError as error:
        raise Invalid(str(error.strerror), batch, "name a file that can be read") from None
    with file:
        return _spooled(file, copy)


def _spooled(source: IO[bytes] | None, copy: Path) -> str:
    """Write a stream into a new file that only its owner reads; its path."""
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks(source) if source is not None else ():
            file.write(chunk)
    return str(copy)
