"""Prints answers: JSON where stdout is not a terminal, tables where it is; and single lines on stderr.

JSON is written row by row as it arrives; `table.py`, which needs rich, is imported only to draw a table.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from maestro.cli.column import UNSET, Column
from maestro.cli.escape import escaped, escaped_json, plain
from maestro.model.errors import MaestroError

Row = Mapping[str, Any]
_encode = msgspec.json.Encoder().encode


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_styled() -> bool:
    """Whether colours and styles are wanted on a terminal: NO_COLOR is unset or empty, and TERM is not `dumb`."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_dumb() -> bool:
    """Whether a terminal knows no control sequences: TERM is `dumb`, or not set."""
    return os.environ.get("TERM", "") in ("", "dumb")


def wants_json(chosen: str | None) -> bool:
    """Whether to print JSON. chosen: the value of --format, None where it was not given."""
    return chosen == "json" or (chosen is None and not is_terminal())


def write(data: bytes) -> None:
    """Write to stdout. Raises BrokenPipeError when the reader has gone, MaestroError when it cannot be written."""
    if sys.stdout is not None:
        _put(sys.stdout.buffer.write, data)


def flush() -> None:
    """Flush stdout. Raises as `write`."""
    if sys.stdout is not None:
        _put(sys.stdout.flush)


def _put(step: Callable[..., object], *data: bytes) -> None:
    try:
        step(*data)
    except BrokenPipeError:
        raise
    except OSError as error:
        forget()
        raise MaestroError(f"cannot write the answer: {error.strerror}", "standard output") from None


def forget() -> None:
    """Redirect stdout to /dev/null, so that neither a later flush nor the interpreter's exit tries to write again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def write_text(text: str) -> None:
    """Write output of an agent: unchanged into a file or pipe, without control sequences on a terminal."""
    write((plain(text) if is_terminal() else text).encode("utf-8", "backslashreplace"))
    flush()


def write_line(text: str) -> None:
    """Write one line, escaped."""
    write(escaped(text).encode("utf-8", "backslashreplace") + b"\n")


def json_of(data: Any) -> bytes:
    """Compact JSON, escaped where stdout is a terminal."""
    encoded = _encode(data)
    return escaped_json(encoded.decode()).encode() if is_terminal() else encoded


class JsonRows:
    """Prints a JSON list row by row: `[`, one row per line, `]`.

    counted: the list is the key `rows` of an object, beside `truncated` and `total`.
    """

    def __init__(self, counted: bool = False) -> None:
        self._counted = counted
        self._count = 0

    def add(self, row: Any) -> None:
        """Print one more row."""
        write((b",\n" if self._count else self._begin() + b"\n") + json_of(row))
        self._count += 1

    def end(self, truncated: bool = False, total: int | None = None) -> None:
        """Close the list. truncated: more rows may be there; total: how many there are, None where nobody knows."""
        write(b"\n]" if self._count else self._begin() + b"]")
        if self._counted:
            beside = {"truncated": truncated, "total": total if truncated else self._count}
            write(b"," + _encode(beside)[1:])
        write(b"\n")

    def _begin(self) -> bytes:
        return b'{"rows":[' if self._counted else b"["


def write_json(data: Any) -> None:
    """Print one object on one line and flush: JSON Lines where it is one of many."""
    write(json_of(data) + b"\n")
    flush()


def write_table(columns: Sequence[Column], rows: Iterable[Row], empty: str = "nothing to show") -> None:
    """Print rows as a table: of the terminal's width, or elsewhere as wide as it is, a row a line, nothing cut.

    What the terminal has no room for is named on stderr (`maestro help terminal`).
    """
    listed = list(rows)
    if not listed:
        tell(empty)
        return
    from maestro.cli.table import fitted

    inside = [column for column in columns if not column.below]
    width = shutil.get_terminal_size().columns if is_terminal() else 0
    drawn = fitted(inside, [[cell(column, row) for column in inside] for row in listed], width)
    header = f"\x1b[1m{drawn.header}\x1b[0m" if is_terminal() and is_styled() else drawn.header
    text = "".join(f"{line}\n" for line in (header, *drawn.lines))
    write(text.encode("utf-8", "backslashreplace"))
    for column in columns:
        _write_below(column, listed)
    if drawn.left_out:
        flush()
        tell(f"no room for {', '.join(drawn.left_out)}: --format json has all")


def _write_below(column: Column, rows: Iterable[Row]) -> None:
    """The values of a column that is below its table, each whole on a line of its own."""
    values = [row[column.key] for row in rows if column.below and row.get(column.key)]
    if values:
        write_line("")
        write_line(f"{column.title}:")
    for value in values:
        write_line(value_text(value))


def write_object(data: Row, leave_out: Iterable[str] = ()) -> None:
    """Print an object as lines `key  value`, without unset fields."""
    hidden = set(leave_out)
    shown = {key: value for key, value in data.items() if key not in hidden and not _is_unset(value)}
    width = max((len(key) for key in shown), default=0)
    for key, value in shown.items():
        write_line(f"{key:<{width}}  {value_text(value)}")


def _is_unset(value: Any) -> bool:
    """Whether a value says nothing: none, empty, or a mapping of such and of zeros, as a usage without any."""
    if isinstance(value, Mapping):
        return not any(value.values())
    return value in (None, "", [])


def cell(column: Column, row: Row) -> str:
    """The escaped text of a row in a column."""
    value = row.get(column.key)
    if value in (None, "", []):
        return UNSET
    return escaped(column.show(value) if column.show else value_text(value))


def value_text(value: Any) -> str:
    """A value as text for a person."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={value_text(item)}" for key, item in value.items())
    return str(value)


def seconds(value: Any) -> str:
    """A duration in seconds as `45s`, `3m`, `2h`, `4d`."""
    whole = int(value)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def tokens(usage: Any) -> str:
    """Input and output tokens of a usage: `1200+345`; `-` where none were reported."""
    given, made = usage["input_tokens"], usage["output_tokens"]
    return f"{given}+{made}" if given or made else "-"


def cost(usage: Any) -> str:
    """The cost of a usage; `-` where none was reported."""
    return f"{usage['cost']:.4g}" if usage["cost"] else "-"


def moment(value: Any) -> str:
    """A time to the second: 2026-01-31T12:00:00Z; "" for none."""
    return f"{str(value)[:19]}Z" if value else ""


def tell(line: str) -> None:
    """Print a line on stderr: a note, a warning, a hint. An unwritable stderr is ignored."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"maestro: {escaped(line)}", file=sys.stderr, flush=True)


def fail(line: str, exit_code: int) -> int:
    """Print the line that says what went wrong; returns the exit code."""
    tell(line)
    return exit_code
