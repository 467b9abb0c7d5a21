"""`maestro state`: values shared by agents and people. The only command group that agents may use inside runs."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer, restores, snapshots
from maestro.cli.column import Column
from maestro.cli.options import DURATION_HELP, FormatOption, examples
from maestro.cli.printer import Row
from maestro.cli.text_input import DASH, PROMPT_BYTES_MAX, read_text
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="state", help="State shared between agents, and its snapshots.")

KEYS = (
    Column("key", "KEY"),
    Column("value", "VALUE", cuts="end"),
    Column("set_at", "SET", printer.moment, leaves=1),
    Column("expires_at", "EXPIRES", printer.moment, leaves=2),
)
KeyArgument = Annotated[str, typer.Argument(help="The key, e.g. api_port.", autocompletion=completion.keys)]


@app.command(
    "set",
    epilog=examples(
        "maestro state set api_port 8080", "maestro state set report - --ttl 0 < r.md", "maestro state set offset -- -5"
    ),
)
def set_(
    key: KeyArgument,
    value: Annotated[
        str, typer.Argument(help="The value; `-` reads standard input; behind `--` one may begin with -.")
    ],
    ttl: Annotated[str, typer.Option("--ttl", help=f"How long it lives: {DURATION_HELP}, 0 keeps it.")] = "24h",
    format: FormatOption = None,
) -> int:
    """Set a key."""
    text = read_text("-", "the value", PROMPT_BYTES_MAX) if value == "-" else value
    if value == "-" and not text:
        printer.tell(f"standard input was empty, so the value is; {DASH}")
    return answer.one(p.StateSet(key, text, ttl), format)


@app.command("get", epilog=examples("maestro state get api_port | jq -r .value", "maestro state get api_port --raw"))
def get(
    key: KeyArgument,
    raw: Annotated[bool, typer.Option("--raw", "-r", help="The value alone.")] = False,
    format: FormatOption = None,
) -> int:
    """The value of a key; exit code 3 where it is not set, or has expired."""
    if raw:
        return answer.one(p.StateGet(key), "table", _show_value)
    return answer.one(p.StateGet(key), format)


@app.command("list", epilog=examples("maestro state list", "maestro state list task:"))
def list_(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so.")] = "", format: FormatOption = None
) -> int:
    """Keys and values, by key."""
    return answer.rows(p.StateList(prefix), KEYS, format, "no keys")


@app.command("delete", epilog=examples("maestro state delete api_port"))
def delete(key: KeyArgument, format: FormatOption = None) -> int:
    """Delete a key."""
    return answer.one(p.StateDelete(key), format)


snapshots.add(app)
restores.add(app)


def _show_value(row: Row) -> None:
    value = str(row.get("value", ""))
    printer.write_text(value if value.endswith("\n") else f"{value}\n")
