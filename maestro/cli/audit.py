"""`maestro audit`: who did what, when and why, from the log."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from maestro.cli import answer, printer
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, SinceOption, TypeOption, examples
from maestro.runtime.protocol import messages as p
from replayers.positions import rfc3339

app = typer.Typer()

WHAT_CHARS_MAX = 100
TELLING = (
    *("status", "outcome", "exit_code", "reason", "session", "input_tokens", "output_tokens", "cost"),
    *("agent", "node", "role", "workspace", "title", "tool", "option", "value", "to", "before"),
    *("version", "enabled", "instance", "step", "approved"),
    *("cron", "tz", "missed", "due", "by_hand", "ok", "made", "why"),
)
OF_DELIVERIES = ("alert", "kind", "attempt", "retry_at")
"""Fields that are told of deliveries only."""
OF_GUARDS = ("snapshot", "failed", "why", "in_a_row", "workspace")
"""Fields that are told of what failsafe mode does, whose agent is the subject: what goes back, and what was left."""
OF_FORWARDS = ("node", "command", "answer")
"""Fields that are told of commands that another node carries out."""
TIMES = ("due", "until", "retry_at")
OF_BRANCHES = ("source", "at", "root")
"""Fields that are told of where a fork begins."""
OF_SNOOZES = ("until", "reason")
"""Fields that are told of an alert that nobody is told of for a while."""
UNLESS = ("missed", "by_hand")
"""Fields that are told only where they say something."""


def _what(data: dict[str, Any]) -> str:
    """The fields of a fact, shortened: without definitions, prompts, and ids that are in the subject."""
    told = data | {"agent": str(data.get("agent") or "").removeprefix(".")}  # `run` and `echo`, as users know them
    told |= {key: data.get(key) or "" for key in UNLESS}
    told |= {key: printer.moment(rfc3339(data[key])) for key in TIMES if isinstance(data.get(key), int)}
    names: tuple[str, ...] = (*TELLING, *OF_DELIVERIES) if "delivery" in data else TELLING
    if {"run", "snapshot", "workspace", "task"} <= data.keys():
        names = OF_GUARDS
    if "forward" in data:
        names = OF_FORWARDS
    if set(OF_BRANCHES) <= data.keys():
        names = OF_BRANCHES
    if {"alert", "until"} <= data.keys():
        names = OF_SNOOZES
        told["until"] = told["until"] if data["until"] else "now: told again"
    said = [f"{key}={printer.value_text(told[key])}" for key in names if told.get(key) not in (None, "")]
    line = " ".join(said)
    return line if len(line) <= WHAT_CHARS_MAX else line[: WHAT_CHARS_MAX - 1] + "…"


def _actor(actor: str) -> str:
    """An event's actor without the number of its incarnation."""
    return ":".join(actor.split(":")[:2])


AUDIT = (
    Column("seq", "SEQ", leaves=2),
    Column("time", "TIME", printer.moment, leaves=3),
    Column("type", "EVENT"),
    Column("subject", "SUBJECT", cuts="end"),
    Column("actor", "BY", _actor),
    Column("data", "WHAT", _what, cuts="end"),
    Column("because", "BECAUSE OF", cuts="end", leaves=1),
)


@app.command(
    "audit",
    epilog=examples("maestro audit task:01J9…", "maestro audit --since 1h --type run.ended", "maestro audit -f"),
)
def audit(
    subject: Annotated[
        str | None,
        typer.Argument(help="As task:01J9…, agent:tester, or the id of a task, run, agent, node, type or key."),
    ] = None,
    since: SinceOption = None,
    type: TypeOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    format: FormatOption = None,
) -> int:
    """Who did what, when and why; of a task its whole timeline with causes."""
    command = p.Audit(subject, since, tuple(type or ()), follow)
    if follow:
        return answer.stream(command, AUDIT, format)
    return answer.rows(command, AUDIT, format, "no such events")
