"""What is said of a workflow's run on a terminal, in words: what it waits for, how it ended, how much it used."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping
from typing import Any

from maestro.cli import printer
from maestro.model.ids import typed_instance

Row = Mapping[str, Any]


def headline(run: Row, rows: Mapping[str, Row], now: float) -> str:
    """The first line: which run, how it is, what it has used."""
    counts = Counter(row["status"] for row in rows.values())
    ended = sum(count for status, count in counts.items() if status not in ("running", "waiting"))
    version = run.get("version")
    name = f"{run.get('workflow', '')}{f' v{version}' if version else ''}"
    state = "paused (budget)" if run.get("paused") == "budget" else run.get("status", "")
    lasts = lasted(run.get("started_at"), run.get("ended_at"), now)
    parts = [name, str(state), took(lasts or 0), f"{ended} of {len(rows)} ended"]
    usage = run.get("usage") or {}
    parts += [f"{usage['tokens']} tokens"] if usage.get("tokens") else []
    parts += [f"cost {money(usage['cost'])}"] if usage.get("cost") else []
    return "  ".join(parts)


def approvals(run: Row, rows: Mapping[str, Row]) -> list[str]:
    """The commands that approve what waits for that."""
    waiting = [row for row in rows.values() if row["status"] == "waiting" and row["waiting_for"] == "approval"]
    return [f"maestro workflow approve {run.get('id')} {typed_instance(row['id'])}" for row in waiting]


def remark(row: Row, now: float | None = None) -> str:
    """What there is to say of an instance that does not work."""
    if row["status"] == "waiting" or row.get("waiting_for"):
        return waits(row, now)
    if row.get("answer"):
        return answered(row["answer"])
    if row["status"] == "completed":
        return f"taken over from run {row['reused']}" if row.get("reused") else ""
    return failure(row)


def failure(row: Row) -> str:
    """Why an instance, or its last attempt, did not end well: its outcome and more, nothing of it twice."""
    why = str(row.get("why") or row.get("error") or "").removeprefix(".")  # as the agent that is always there has it
    outcome = str(row.get("outcome") or "")
    for said in (f"{outcome}: ", f"{outcome}: ", f"{row.get('agent')}: ", f"{outcome}, "):
        why = why.removeprefix(said) if outcome else why
    return why if outcome in why else f"{outcome}: {why}" if why else outcome


def answered(answer: Row) -> str:
    """What became of an approval: the answer, whose it is, and why."""
    word = "approved" if answer["approved"] else "rejected"
    by = "at its time limit, as nobody answered" if answer.get("timed_out") else f"by {answer.get('by') or 'somebody'}"
    return f"{word} {by}" + (f": {answer['reason']}" if answer.get("reason") else "")


def waits(row: Row, now: float | None = None) -> str:
    """What an instance waits for, in words."""
    reason = row.get("waiting_for") or ""
    match reason:
        case "needs":
            return str(row.get("why") or f"waits for {', '.join(row.get('needs') or ()) or 'its needs'}")
        case "approval":
            return f"asks: {row['prompt']}" if row.get("prompt") else "waits for an approval"
        case "retry":
            left = seconds_of(row["due"]) - now if row.get("due") and now is not None else 0
            failed = failure(row)
            told = f"{failed}; " if failed else ""
            when = f", in {took(left)}" if left > 0 else f", due {row['due']}" if row.get("due") else ""
            return f"{told}waits for its next attempt{when}" + (f"; {row['reason']}" if row.get("reason") else "")
        case "pause":
            return "the run is paused"
        case "":
            return ""
    if row.get("reason"):
        told = str(row["reason"])
        return f"waits for {told}" if told.startswith(("a ", "an ", "another ", "its ")) else f"waits: {told}"
    if reason == "child" and row.get("child"):
        return f"waits for run {row['child']}"
    return f"waits for {WAITED.get(reason, reason)}"


WAITED = {
    "agent": "its agent",
    "slot": "a slot",
    "group": "its group",
    "budget": "its budget",
    "restore": "its workspace",
    "archive": "its archive",
    "items": "other items of its step",
    "child": "its child",
}


def counted(counts: Mapping[str, int]) -> str:
    """Counts by status, in words: what went wrong first."""
    order = ("failed", "timed_out", "cancelled", "running", "completed", "skipped", "waiting")
    return ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in order if counts.get(status))


def cost_of(row: Row) -> float:
    """What an instance or a run has cost."""
    return float((row.get("usage") or {}).get("cost") or 0.0)


def money(cost: float) -> str:
    """A cost, to the hundredth, or to what can be seen."""
    return f"{cost:.2f}" if cost >= 0.01 else f"{cost:.2g}"


def took(seconds: float) -> str:
    """How long something took: below 10 s to the tenth, as most steps of a trial do not take one."""
    return f"{seconds:.1f}s" if seconds < 10 else printer.seconds(seconds)


def lasted(began: Any, ended: Any, now: float) -> float | None:
    """Seconds from a time to another, or to now; None where it has not begun."""
    if not began:
        return None
    return max(0.0, (seconds_of(ended) if ended else now) - seconds_of(began))


def seconds_of(time: Any) -> float:
    """A time of a row in seconds since the epoch."""
    return datetime.datetime.fromisoformat(str(time)).timestamp()
