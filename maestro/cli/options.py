"""Options and arguments that several commands share, and the parsing of their values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from maestro.cli import completion
from maestro.model.duration import UNITS_MS, duration_forms, duration_ms
from maestro.model.errors import Invalid
from maestro.model.ids import with_labels

DURATION_MS_MAX = 365 * UNITS_MS["d"]
DURATION_HELP = "90s, 10m, 2h, 1h30m; a bare number is seconds"
TIME_HELP = "A time (2026-05-01T12:00:00Z; UTC where it names no zone), or how long ago: 90s, 10m, 2h, 7d."


class Format(StrEnum):
    """Formats of printed data."""

    json = "json"
    table = "table"


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="json or table; a table on a terminal, else JSON.")
]
AgentArgument = Annotated[str, typer.Argument(help="Id of an agent.", autocompletion=completion.agents)]
AgentFilter = Annotated[
    str | None, typer.Option("--agent", help="Only of this agent.", autocompletion=completion.agents)
]
TaskArgument = Annotated[str, typer.Argument(help="Id of a task.", autocompletion=completion.tasks)]
TypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type", help="Only these events: run.ended, or all of run. Repeatable.", autocompletion=completion.event_types
    ),
]
CountedOption = Annotated[
    bool,
    typer.Option("--counted", help="JSON as {rows, truncated, total}: tells a list that --limit has cut."),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help=f"{TIME_HELP} A bare number is a position."),
]


def duration(option: str, least_ms: int = 0) -> Callable[[str], float]:
    """A parser for the value of an option that is a duration, into seconds. It raises Invalid, in one line."""

    def parse(text: str) -> float:
        found = duration_ms(text)
        if found is None or not least_ms <= found <= DURATION_MS_MAX:
            least = "above 0" if least_ms else "from 0"
            raise Invalid(f"{text!r} is no duration {least} to 365d", option, duration_forms())
        return found / 1000

    return parse


def examples(*lines: str) -> str:
    """The epilog of a help text: one example per line, not rewrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def comma_separated(values: list[str] | None, option: str) -> list[str]:
    """`--to a,b --to c` -> [a, b, c], in order, each once. Raises Invalid for an empty one among them."""
    return list(dict.fromkeys(_parts(values, option)))


def targets_named(values: list[str] | None) -> list[str]:
    """As `comma_separated`, of targets: `a,role:b,label:c` -> [a, "role:b,label:c"]."""
    return with_labels(_parts(values, "--to"))


def _parts(values: list[str] | None, option: str) -> Iterator[str]:
    for value in values or []:
        for part in value.split(","):
            if not part.strip():
                raise Invalid(f"an empty name in {value!r}", option, "name them as a,b,c")
            yield part.strip()


def absolute(path: str, option: str) -> str:
    """A path as the server can use it: absolute, `~` expanded, symlinks kept. Raises Invalid for an unusable path."""
    if not path or "\0" in path or "\n" in path:
        raise Invalid(f"{path!r} is no path", option, "name a folder")
    try:
        return os.path.normpath(Path(path).expanduser().absolute())
    except (OSError, RuntimeError) as error:
        raise Invalid(f"{path!r}: {error}", option, "name an absolute path") from None


def snapshot_named(source: str) -> str:
    """A snapshot argument as the server expects it: the absolute path of a file, or an id. Raises Invalid."""
    is_path = "/" in source or source.endswith((".gz", ".tgz")) or os.path.isfile(source)  # noqa: PTH113 - False for any text
    return absolute(source, "the snapshot") if is_path else source
