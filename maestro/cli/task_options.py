"""The options of `maestro task`: what a task is given, how its file of many is, and the states that it may have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from click.core import ParameterSource

from maestro.cli import completion
from maestro.cli.options import DURATION_HELP, duration
from maestro.model.errors import Invalid

PromptArgument = Annotated[
    str | None,
    typer.Argument(metavar="PROMPT", help="What to do; `-` reads standard input, `@file` a file; `@@x` is `@x`."),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        help="Agents or pools (type:<slug>, role:<role>, capability:<c>), comma-separated; label:<l> behind one asks"
        " for a node with that label.",
        autocompletion=completion.targets,
    ),
]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="FILE",
        help="Instead of a prompt: a file with a task a line, as JSON, or `-`. All of it is checked first.",
    ),
]
BatchKeyOption = Annotated[
    str,
    typer.Option(
        "--batch-key",
        help="What lines without a key have as theirs, with their number; else a hash of the file, so that the same"
        " file gives the same tasks.",
    ),
]
SyncOption = Annotated[bool, typer.Option("--sync", help="Wait for the end; exit as the agents did.")]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        parser=duration("--timeout", least_ms=1),
        metavar="DURATION",
        help=f"How long a run may take: {DURATION_HELP}.",
    ),
]
DependsOnOption = Annotated[
    list[str] | None,
    typer.Option("--depends-on", help="Wait for these tasks; comma-separated.", autocompletion=completion.tasks),
]
StrictKeyOption = Annotated[
    bool, typer.Option("--strict-key", help="Exit 4 where the key stands for a task that differs from this one.")
]
VerifyOption = Annotated[
    str, typer.Option("--verify", help="A shell command that must exit 0 in the workspace after a good end.")
]
BudgetTokensOption = Annotated[
    int | None, typer.Option("--budget-tokens", min=1, help="Tokens that its runs may use together.")
]
BudgetCostOption = Annotated[
    float | None, typer.Option("--budget-cost", help="What its runs may cost together, as the agents tell it.")
]
CancelOnInterruptOption = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="With --sync: Ctrl-C cancels the task.")
]


class Status(StrEnum):
    """States of a task."""

    queued = "queued"
    running = "running"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    timed_out = "timed_out"
    skipped = "skipped"


def check_keys(ctx: typer.Context, batch: str | None) -> None:
    """Check the options of keys. Raises Invalid, also for an empty one: a script's variable was not set."""
    for name, option in (("key", "--key"), ("batch_key", "--batch-key")):
        is_given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_given and not ctx.params[name].strip():
            raise Invalid("is empty", option, "give a text, or leave it out; is a variable of your script not set?")
    if batch is None and (ctx.params["batch_key"] or (ctx.params["strict_key"] and not ctx.params["key"])):
        option, other = ("--batch-key", "--batch") if ctx.params["batch_key"] else ("--strict-key", "--key or --batch")
        raise Invalid(f"it goes with {other}", option, "leave it out")
