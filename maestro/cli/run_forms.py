"""The forms in which a run of a workflow is printed: a line, its steps as a table, its trace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from maestro.cli import printer
from maestro.cli.column import Column
from maestro.cli.printer import Row
from maestro.cli.run_words import cost_of, lasted, money, remark, took
from maestro.model.ids import typed_instance

RUNS = (
    Column("id", "RUN"),
    Column("workflow", "WORKFLOW", cuts="end"),
    Column("version", "VERSION", leaves=2),
    Column("status", "STATUS"),
    Column("started_at", "STARTED", printer.moment, leaves=4),
    Column("ended_at", "ENDED", printer.moment, leaves=1),
    Column("usage", "COST", lambda usage: money(usage["cost"]) if usage["cost"] else "-", leaves=3),
    Column("waiting_for", "WAITING FOR", lambda names: ", ".join(names) or "-", cuts="end"),
    Column("why", "WHY", cuts="end", leaves=5),
)
STEPS = (
    Column("id", "STEP", cuts="end"),
    Column("status", "STATUS"),
    Column("agent", "AGENT", cuts="end", leaves=4),
    Column("attempts", "ATTEMPT", leaves=1),
    Column("seconds", "TIME", leaves=3),
    Column("cost", "COST", leaves=2),
    Column("remark", "WHAT", cuts="end"),
)
TRACE = (
    Column("time", "TIME", leaves=2),
    Column("instance", "STEP"),
    Column("what", "WHAT"),
    Column("waited", "WAITED", leaves=1),
    Column("detail", "DETAIL", wraps=True),
)
FAILED = ("failed", "timed_out")
HIDDEN = ("steps", "trace", "result_blob", "result_bytes")


def show_id(run: Row) -> None:
    """The id alone."""
    printer.write_line(str(run.get("id", "")))


def show_state(run: Row) -> None:
    """A line: id and status."""
    printer.write_line(f"{run['id']}  {state(run)}")


def show_run(run: Row) -> None:
    """All of it: its fields, then a table of its steps, then commands for what waits for a person."""
    printer.write_object(run, HIDDEN)
    rows = run.get("steps") or ()
    if rows:
        printer.write(b"\n")
        printer.write_table(STEPS, [step_row(row) for row in rows])
    printer.flush()
    tell_ways(run)


def show_status(run: Row) -> None:
    """As `show_run`, and how to try again what has failed."""
    show_run(run)
    tell_failure(run)


def show_trace(run: Row) -> None:
    """All of it, and below that what happened, in order."""
    show_status(run)
    if run.get("trace"):
        printer.write(b"\n")
        printer.write_table(TRACE, [trace_row(row) for row in run["trace"]])


def show_rest(run: Row) -> None:
    """What the tree of a run that has ended does not say: why it failed, and its result."""
    if run.get("status") != "completed":
        why = run.get("why")
        printer.tell(f"run {run['id']} is {state(run)}" + (f": {why}" if why else ""))
    if run.get("result"):
        printer.write_text(f"{str(run['result']).rstrip()}\n")


def introduced(run: Row) -> str:
    """Which run is waited for."""
    return f"run {run['id']} of {run['workflow']} v{run['version']}"


def state(run: Row) -> str:
    """The status of a run in words."""
    if run.get("paused") == "budget":
        return "paused: its budget is used up"
    return str(run.get("status", "")).replace("_", " ")


def idle(run: Row) -> str:
    """Why nothing of a run goes on though nothing is wrong with it, and how it does: its nodes take no work."""
    return f"nothing goes on: {run['idle']}; to go on: maestro up"


def tell_ways(run: Row) -> None:
    """Say on stderr how a run goes on that waits for a person."""
    if run.get("ended_at"):
        return
    for row in run.get("steps") or ():
        if row["status"] == "waiting" and row["waiting_for"] == "approval":
            printer.tell(f"to approve: maestro workflow approve {run['id']} {typed_instance(row['id'])}")
        if row["waiting_for"] == "permission":
            printer.tell(f"to answer the agent of {row['id']}: maestro task answer {row['task']} allow (or reject)")
    if run.get("idle"):
        printer.tell(idle(run))
    if run.get("paused"):
        more = _more(run) if run["paused"] == "budget" else ""
        printer.tell(f"to go on: maestro workflow resume {run['id']}{f' --add-budget {more}' if more else ''}")


def _more(run: Row) -> str:
    """What a used-up budget needs to go on: as much again, and more where what was used is above that."""
    limits, used = run.get("budget") or {}, run.get("usage") or {}
    tokens, cost = limits.get("tokens"), limits.get("cost")
    wanted = []
    if tokens and used.get("tokens", 0) >= tokens:
        wanted.append(f"tokens={max(tokens, used['tokens'] - tokens + 1)}")
    if cost and used.get("cost", 0) >= cost:
        wanted.append(f"cost={max(cost, used['cost'] - cost + 0.01):.2f}")
    return ",".join(wanted)


def step_row(row: Row) -> dict[str, Any]:
    """An instance as a row of the table."""
    attempt, most = row.get("attempt") or 0, row.get("attempts_max") or 0
    began, ended = row.get("started_at"), row.get("ended_at")
    since = row.get("since")
    told = remark(row, time.time())
    if row.get("waiting_for") and since and row["waiting_for"] not in ("needs", "retry"):
        told = f"{told}, since {printer.moment(since)}" if told else ""
    return {
        **row,
        "attempts": f"{attempt}/{most}" if attempt and most > 1 else str(attempt or ""),
        "seconds": _took(began, ended),
        "cost": money(cost_of(row)) if cost_of(row) else "",
        "remark": told,
    }


def tell_failure(run: Row) -> None:
    """Say on stderr of a run that has failed what its step printed last, where the rest is, and how to try again."""
    failed = [row for row in run.get("steps") or () if row["status"] in FAILED]
    if run.get("status") not in FAILED:
        return
    row = next((row for row in failed if row.get("task") or row.get("child")), None)
    if row is not None:
        if row.get("last_line"):
            printer.tell(f"{row['id']} printed last: {row['last_line']}")
        printer.tell(f"to see all of it: maestro workflow logs {run['id']} {typed_instance(row['id'])}")
    printer.tell(
        f"to go on from what failed: maestro workflow run {run['workflow']} --resume-from failed --run {run['id']}"
    )


def trace_row(row: Row) -> dict[str, Any]:
    """A line of the trace as a row of the table."""
    waited = row.get("waited_s")
    for_what = row.get("waited_for") or ""
    told = f"{took(waited)} for {for_what}" if waited is not None and for_what else ""
    return {**row, "waited": told, "detail": _detail(row.get("detail") or {})}


def _detail(fields: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {printer.value_text(value)}" for name, value in fields.items() if value not in (None, "")
    )


def _took(began: Any, ended: Any) -> str:
    lasts = lasted(began, ended, time.time())
    return took(lasts) if lasts is not None else ""
