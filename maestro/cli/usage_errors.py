"""Errors of a command line: what click says of them, in one line and in words for a user; names like unknown ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click

from maestro.model.ids import nearest

LIKE_MAX = 5
TEXTS = {"prompt", "value"}
"""Arguments that may be any text."""
MEANT = {
    "": {"start": "up", "stop": "shutdown"},
    "node": {"undrain": "drain --undo", "rm": "forget", "remove": "forget", "delete": "forget", "stop": "drain"},
}
"""By group, "" for none: what a command is called elsewhere, and here."""
LIBRARY_WORDS = (
    (re.compile(r" is not a valid float( range)?"), " is no number"),
    (re.compile(r" is not a valid integer( range)?"), " is no whole number"),
    (re.compile(r" is not in the range ([^<>]+)<=x<=(\S+)"), r" is not from \1 to \2"),
    (re.compile(r" requires an argument"), " needs a value"),
    (re.compile(r" is not in the range x>=(\S+)"), r" is below \1"),
)
"""What click says of values, in words for a user."""


def check_name(ctx: click.Context, name: str, known: Iterable[str], inside: Sequence[str] = ()) -> None:
    """Refuse a name that no command has, with those like it, else with `inside`; options are left to click, and so is
    all where a shell completes the line.
    """
    if ctx.resilient_parsing:
        return
    if not name.startswith("-"):
        meant = MEANT.get((ctx.parent and ctx.info_name) or "", {}).get(name)
        like = [meant] if meant else []
        like += inside if meant else nearest(name, known) or inside
        error = click.UsageError(f"no such command {name!r}", ctx)
        error.like = [f"`{ctx.command_path} {each}`" for each in like]  # type: ignore[attr-defined]
        raise error


def usage_line(error: click.ClickException) -> str:
    """What is wrong with a command line, in one line: what, what may have been meant, where to look."""
    text = error.format_message().rstrip(".").replace("\n\t", " ")
    like = list(getattr(error, "like", ()))
    if isinstance(error, click.NoSuchOption):
        text, like = f"no such option {error.option_name!r}", list(error.possibilities or ())
    for library, ours in LIBRARY_WORDS:
        text = library.sub(ours, text)
    context = getattr(error, "ctx", None)
    if context is None:
        return text
    text = text[:1].lower() + text[1:]
    hint = f"did you mean {', '.join(like[:LIKE_MAX])}? " if like else ""
    if isinstance(error, click.NoSuchOption) and not like and TEXTS & {param.name for param in context.command.params}:
        hint = "a text that begins with - goes behind --; "
    return f"{text}; {hint}see `{context.command_path} --help`"
