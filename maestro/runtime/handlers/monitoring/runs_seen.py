"""The open runs of workflows as a monitor shows them: how far each is, and what it waits for.

Each is read once, and then kept current from its new events, as several monitors look again and again.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from maestro.model.errors import MaestroError, StoreAway
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.status import steps_of
from maestro.runtime.handlers.workflow_runs.waiting import Watched
from maestro.runtime.node.context import Context
from maestro.runtime.server.rows import Row, when
from maestro.runtime.server.run_rows import live_usage

RUNS_MAX = 20
"""Of so many runs, children included, a monitor shows how far they are: of more, of those that began last, and of those
that have been open longest. All are counted.
"""
NAMES_MAX = 5
DONE = ("completed", "skipped", "failed", "timed_out", "cancelled")

_known: weakref.WeakKeyDictionary[Context, dict[str, Watched]] = weakref.WeakKeyDictionary()


async def runs_seen(context: Context, headers: Sequence[RunHeader]) -> list[Row]:
    """The rows of open runs, those that ask for an approval first, then newest first; children are told as their
    parents' steps. headers: of open runs, newest first.
    """
    known = _known.setdefault(context, {})
    some = RUNS_MAX // 2
    shown = list(headers) if len(headers) <= RUNS_MAX else [*headers[:some], *headers[-some:]]
    for gone in known.keys() - {header.id for header in shown}:
        del known[gone]
    rows: dict[str, Row] = {}
    for header in shown:
        watched = known.setdefault(header.id, Watched(context, header))
        try:
            await watched.look()
            row = await _row(watched)
        except StoreAway:
            raise
        except MaestroError as error:  # that something of one run is gone hides the others from nobody
            row = _header_row(header) | {"why": error.line()}
        rows[header.id] = row
    for header in shown:
        root = rows.get(header.root)
        if header.parent and root is not None:
            root["asks"] += [{**each, "run": header.id} for each in rows[header.id]["asks"]]
    mine = [rows[header.id] for header in shown if not header.parent]
    return sorted(mine, key=lambda row: not row["asks"])


def _header_row(header: RunHeader) -> Row:
    return {
        "id": header.id,
        "workflow": header.workflow,
        "version": header.version,
        "status": header.status,
        "paused": header.paused or None,
        "started_at": when(header.started_at),
        "steps": None,
        "works": [],
        "waits": [],
        "asks": [],
        "why": None,
        "usage": {"tokens": header.tokens, "cost": round(header.cost, 9)},
    }


async def _row(watched: Watched) -> Row:
    run = watched.run
    assert run is not None
    around = await watched.around()
    steps = list(steps_of(run, around))
    by_step: dict[str, list[str]] = {}
    for step in steps:
        by_step.setdefault(step["step"], []).append(step["status"])
    done = sum(all(status in DONE for status in found) for found in by_step.values())
    failed = sum(any(status in ("failed", "timed_out") for status in found) for found in by_step.values())
    works = [step["id"] for step in steps if step["status"] == "running"]
    waiting = [step for step in steps if step["status"] == "waiting" and step["waiting_for"] != "needs"]
    asking = [step for step in waiting if step["waiting_for"] == "approval"]
    return _header_row(watched.header) | {
        "steps": {"done": done, "failed": failed, "all": len(by_step)},
        "works": works[:NAMES_MAX],
        "works_more": max(0, len(works) - NAMES_MAX),
        "waits": [_waits(step) for step in waiting if step not in asking][:NAMES_MAX],
        "asks": [{"step": step["id"], "since": step["since"], "prompt": step.get("prompt") or ""} for step in asking][
            :NAMES_MAX
        ],
        "why": run.why or around.idle or None,
        "usage": {key: live_usage(run, around)[key] for key in ("tokens", "cost")},
    }


def _waits(step: Row) -> Row:
    return {
        "step": step["id"],
        "for": step["waiting_for"],
        "reason": step.get("reason"),
        "since": step["since"],
        "due": step.get("due"),
    }
