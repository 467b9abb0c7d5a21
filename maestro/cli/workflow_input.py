"""What `maestro workflow` reads: definitions, files of vars, params; and how errors of a definition are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

from maestro.cli import answer, printer
from maestro.cli.escape import escaped
from maestro.cli.printer import Row
from maestro.cli.text_input import read_text
from maestro.model.errors import Invalid
from maestro.model.ids import is_id
from maestro.runtime.protocol import messages as p

BYTES_MAX = 1 << 20
PARAM_BYTES_MAX = 1 << 20
FILE_ENDS = (".yaml", ".yml")
HEADER_LINES = 2
"""Of a unified diff."""


def is_file(text: str) -> bool:
    """Whether an argument names a definition's file rather than a stored workflow."""
    return text == "-" or "/" in text or text.endswith(FILE_ENDS) or (not is_id(text) and os.path.isfile(text))  # noqa: PTH113 - False for any text


def definition_in(file: str) -> tuple[str, str]:
    """The text of a definition, and how errors name its file. Raises NotFound, Invalid."""
    return read_text(file, "the definition", BYTES_MAX), "stdin" if file == "-" else file


def stem(file: str) -> str:
    """The id that a file gives its workflow, "" where it gives none."""
    name = "" if file == "-" else PurePath(file).stem
    return name if is_id(name) else ""


def vars_in(file: str | None) -> dict[str, Any]:
    """The values of a JSON file, {} for none. Raises NotFound, Invalid."""
    if file is None:
        return {}
    text = read_text(file, "--vars", BYTES_MAX)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"is not JSON: {error}", f"--vars {file}", 'write an object: {"branch": "main"}') from None
    if not isinstance(found, dict):
        raise Invalid("is no object", f"--vars {file}", 'write names and values: {"branch": "main"}')
    return found


def params_of(given: list[str] | None) -> dict[str, str]:
    """The texts of `--param k=v`, by name; `@file` and `-` as for prompts. Raises NotFound, Invalid."""
    if sum(one.partition("=")[2] == "-" for one in given or []) > 1:
        raise Invalid("several values are to be read from standard input", "--param", "name files: k=@file")
    found: dict[str, str] = {}
    for one in given or []:
        name, equals, text = one.partition("=")
        if not equals or not name.strip():
            raise Invalid(f"{one!r} is no name=value", "--param", "write it as in branch=main")
        if name in found:
            raise Invalid(f"{name} is given twice", "--param", "give it once")
        found[name] = _value(name, text)
    return found


def _value(name: str, text: str) -> str:
    what = f"--param {name}"
    if text == "-":
        return read_text("-", what, PARAM_BYTES_MAX)
    if text.startswith("@@"):
        return text[1:]
    if text == "@":
        raise Invalid("no file behind the @", what, "name it as in @notes.md; @@ is a literal @")
    return read_text(text[1:], what, PARAM_BYTES_MAX) if text.startswith("@") else text


def overrides_of(given: list[str] | None) -> dict[str, str]:
    """The agents of `--agent-override A=B`, by A. Raises Invalid."""
    found: dict[str, str] = {}
    for one in given or []:
        of, equals, to = one.partition("=")
        if not equals or not of.strip() or not to.strip():
            raise Invalid(f"{one!r} is no A=B", "--agent-override", "write it as in codex=claude, or '*=echo'")
        if of in found:
            raise Invalid(f"{of} is given twice", "--agent-override", "give it once")
        found[of] = to
    return found


def print_complaint(row: Row) -> None:
    """Print an error, a warning or a notice of a definition on stderr: FILE:LINE:COL and what it is."""
    if sys.stderr is not None:
        print(escaped(str(row["text"])), file=sys.stderr)


def checked(
    command: p.Command, chosen: str | None, show: Callable[[Row], None] = printer.write_object
) -> tuple[int, Row | None]:
    """Carry out a command about a definition: what is wrong goes to stderr, the answer to stdout. Code and answer."""
    end = answer.carry_out(command, print_complaint)
    if not isinstance(end, p.Done) or end.data is None:
        return end.exit_code, None
    answer.show_one(end.data, chosen, show)
    return end.exit_code, end.data


def print_diff(text: str) -> None:
    """Print a unified diff, coloured on a terminal."""
    if not (printer.is_terminal() and printer.is_styled()):
        printer.write_text(text)
        return
    for number, line in enumerate(text.splitlines()):
        printer.write(f"{_coloured(line, number < HEADER_LINES)}\n".encode("utf-8", "backslashreplace"))


def _coloured(line: str, is_header: bool) -> str:
    shown = escaped(line)
    if is_header:
        return f"\x1b[1m{shown}\x1b[0m"
    for begin, colour in (("+", "32"), ("-", "31"), ("@@", "36")):
        if line.startswith(begin):
            return f"\x1b[{colour}m{shown}\x1b[0m"
    return shown
