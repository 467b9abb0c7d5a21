"""The rows that clients get: ready for JSON, times in RFC 3339 UTC, durations in seconds."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import BlobRef
from maestro.model.health import is_fit
from maestro.model.node import Node
from maestro.model.outcome import exit_code_of
from maestro.model.scheduling.sites import shown_agent
from maestro.model.snapshot import Snapshot
from maestro.model.state import StateKey
from maestro.model.task import Run, Slot, Task
from maestro.model.task_row import Permission

if TYPE_CHECKING:
    from maestro.workspaces.archive.read.assessment import Lost

Row = dict[str, Any]
DAY_MS = 86_400_000


def when(at_ms: int) -> str | None:
    """A time in ms as RFC 3339 with milliseconds; None for 0."""
    if not at_ms:
        return None
    seconds, ms = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{ms:03}Z"


@functools.lru_cache(maxsize=4096)  # rows of a list often have theirs in common, and this is half of what a row costs
def _second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()[:19]


def agent_row(agent: Agent, sample: dict[str, str] | None = None, now: int = 0) -> Row:
    """The row of an agent. sample: its last heartbeat, None where there is none any more; now: server time in ms."""
    row: Row = {
        "id": agent.id,
        "type": agent.type,
        "state": agent.state,
        "role": agent.role or None,
        "priority": agent.priority,
        "workspace": agent.workspace,
        "node": agent.node,
        "task": agent.task or None,
        "run": agent.run or None,
        "healthy": is_fit(agent),
        "reason": agent.reason or None,
        "last_task": agent.last_task or None,
        "runs": agent.runs,
        "usage": _usage(agent),
        "heartbeat_age_s": None,
        "memory_bytes": None,
        "cpu_percent": None,
        "assigned_at": when(agent.assigned_at),
    }
    if sample and "at" in sample:
        row["heartbeat_age_s"] = round(max(0, now - int(sample["at"])) / 1000, 1)
        row["memory_bytes"] = int(sample.get("memory_bytes", 0))
        row["cpu_percent"] = float(sample.get("cpu_percent", 0))
    return row


def task_row(task: Task, texts: Mapping[str, str] = MappingProxyType({})) -> Row:
    """The row of a task with its runs. texts: by run, the results that are too large for their events."""
    runs = [_run_row(slot, run, texts.get(run.id, "")) for slot in task.slots for run in slot.runs]
    return {
        "id": task.id,
        "status": task.status,
        "outcome": task.outcome or None,
        "exit_code": None if task.open else exit_code_of(task.status, task.exit_code),
        "source": task.source or None,
        "reason": task.reason or None,
        "title": task.title,
        "targets": [shown_agent(slot.target) for slot in task.slots],
        "agents": sorted({run["agent"] for run in runs}),
        "priority": task.priority,
        "depends_on": task.depends_on,
        "retries": task.retries,
        "timeout_s": task.timeout_s,
        "key": task.key,
        "cancel_requested": task.cancel,
        "actor": task.actor,
        "dispatched_at": when(task.dispatched_at),
        "started_at": when(task.started_at),
        "finished_at": when(task.finished_at),
        "duration_s": _seconds(task.finished_at - task.started_at) if task.finished_at and task.started_at else None,
        "verify": task.verify or None,
        "budget": _budget(task),
        "workflow": task.workflow or None,
        "step": task.step or None,
        "usage": {name: _rounded(sum(run["usage"][name] for run in runs)) for name in _USAGE},
        "runs": runs,
    }


def _run_row(slot: Slot, run: Run, text: str) -> Row:
    """The row of a run. result: always a text, "" for none; result_bytes: its size; result_blob: its blob, if any."""
    apart = run.result if isinstance(run.result, BlobRef) else None
    result = run.result if isinstance(run.result, str) else text
    return {
        "id": run.id,
        "target": shown_agent(slot.target),
        "agent": shown_agent(run.agent),
        "node": run.node,
        "attempt": run.attempt,
        "status": run.status,
        "outcome": run.outcome or None,
        "restart": run.restart,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "source": run.source or None,
        "evidence": run.evidence or None,
        "result": result,
        "result_bytes": apart.size if apart else len(result.encode("utf-8", "replace")),
        "result_blob": apart.blob if apart else None,
        "session": run.session or None,
        "released_at": when(run.released_at),
        "started_at": when(run.started_at),
        "ended_at": when(run.ended_at),
        "duration_s": _seconds(_duration_ms(run)) if run.ended_at else None,
        "workspace": run.workspace or None,
        "log": f"{run.folder}/agent.log" if run.folder else None,
        "usage": _usage(run),
        "permissions": [_permission_row(one) for one in run.permissions],
    }


def _duration_ms(run: Run) -> int:
    """How long a run was on; of one that nobody has seen end, as its node was lost, until it was ended in the log."""
    return run.duration_ms or (max(0, run.ended_at - run.started_at) if run.started_at else 0)


def _permission_row(asked: Permission) -> Row:
    """The row of a request for permission. answer: null while it waits."""
    return {
        "number": asked.number,
        "title": asked.title,
        "tool": asked.tool or None,
        "options": [{"id": one.id, "kind": one.kind, "name": one.name} for one in asked.options],
        "asked_at": when(asked.asked_at),
        "until": when(asked.until),
        "answer": asked.answer or None,
    }


_USAGE = ("input_tokens", "output_tokens", "cached_tokens", "cost")


def _usage(row: Agent | Run) -> Row:
    """Tokens and cost of an agent or a run, as agents have told them."""
    return {name: _rounded(getattr(row, name)) for name in _USAGE}


def _budget(task: Task) -> Row | None:
    if task.budget_tokens is None and task.budget_cost is None:
        return None
    return {"tokens": task.budget_tokens, "cost": task.budget_cost}


def _rounded(number: float) -> float:
    """A sum of costs without the noise of their last digits; a whole number as it is."""
    return round(number, 9) if number else number


def damaged_row(agent: str, workspace: str, lost: Lost) -> Row:
    """The row of a file that cannot be restored. path: below the workspace, "" where its name is lost as well."""
    return {"agent": agent, "workspace": workspace, "path": lost.path, "why": lost.why}


def state_row(row: StateKey, value: str) -> Row:
    """The row of a key of the shared state. value: its text, fetched."""
    return {
        "key": row.key,
        "value": value,
        "set_at": when(row.set_at),
        "expires_at": when(row.expires_at),
        "actor": row.actor,
    }


def node_row(node: Node, alive: bool, running: int, age_s: float | None = None) -> Row:
    """The row of a node. alive: whether it holds its lease now; running: how many runs the views place there.

    age_s: of its last heartbeat, None where none is known.
    """
    is_silent = node.status == "up" and not alive
    return {
        "id": node.id,
        "host": node.host,
        "status": "away" if is_silent else node.status,
        "state": "away" if is_silent and not node.forgotten else node.state,
        "held": node.held,
        "drained": node.drained,
        "running": running,
        "max_concurrent": node.max_concurrent,
        "labels": list(node.labels),
        "heartbeat_age_s": age_s,
        "archive": node.archive or None,
        "pid": node.pid,
        "build": node.build,
        "joined_at": when(node.joined_at),
        "changed_at": when(node.changed_at),
        "reason": node.reason or None,
    }


def _seconds(duration_ms: int) -> float:
    return round(duration_ms / 1000, 3)


def _parts(row: Snapshot) -> list[Row]:
    """What each node has of a snapshot over several, or how far it is; none for one of a single node."""
    if row.across is None:
        return [msgspec.structs.asdict(part) | {"state": "taken", "why": None} for part in row.parts]
    return [{"node": part.node, "state": part.state, "why": part.why or None} for part in row.across.parts.values()]


def snapshot_row(row: Snapshot, retention_days: int, is_latest: bool = False, damaged: Row | None = None) -> Row:
    """The row of a snapshot. expires_at: when retention may delete it, None where it is kept.

    damaged: what it lacks, {files, why, lost: [{tree, path, why}]}, as far as that is known; None where it is whole.
    """
    expires = row.complete and not row.kept
    return {
        "id": row.id,
        "taken_at": when(row.taken_at),
        "position": row.position,
        "state": row.state,
        "reason": row.reason or None,
        "automatic": row.automatic,
        "pinned": row.pinned,
        "latest": is_latest,
        "agents": [workspace.agent for workspace in row.workspaces] or list(row.agents),
        "workspaces": [msgspec.structs.asdict(workspace) for workspace in row.workspaces],
        "bytes": row.bytes,
        "added_bytes": row.added_bytes,
        "torn": list(row.torn),
        "missing": [msgspec.structs.asdict(each) for each in row.missing],
        "not_held": list(row.not_held),
        "path": row.path or None,
        "node": row.node or None,
        "nodes": [node for node in row.nodes if node],
        "parts": _parts(row),
        "manifest": row.manifest or None,
        "expires_at": when(row.taken_at + retention_days * DAY_MS) if expires else None,
        "why": row.why or None,
        "damaged": damaged,
    }
