"""Looks as a daemon sends them, made up: of any size, and with what strangers may have put into names and output."""

from __future__ import annotations

from typing import Any

AT = "2026-11-30T10:05:00.000Z"
SINCE = "2026-11-30T10:04:15.000Z"
TASK = "01J9ABCDEFGHJKMNPQRSTVWXYZ"
HOSTILE = "\x1b[2J\x1b]0;title\x07‮evil⁦\r\n\x00日本語👩‍💻é " * 3


def agent(id: str, state: str = "idle", **more: Any) -> dict[str, Any]:
    told = {"task": TASK, "title": "review it", "attempt": 1, "workflow": None, "step": None}
    doing = told | {"since": SINCE, "started": True, "usage": {"tokens": 0, "cost": 0.0}}
    did = told | {"outcome": "ok", "at": SINCE}
    row = {
        "id": id,
        "type": "worker",
        "state": state,
        "role": None,
        "healthy": state != "failed",
        "usage": {"cost": 0.0},
        "reason": "the disk is full" if state == "failed" else None,
        "doing": doing if state == "active" else None,
        "did": did if state == "idle" else None,
        "lines": ["12 passed"] if state == "active" else [],
    }
    return row | more


def waiting(title: str = "test it", **more: Any) -> dict[str, Any]:
    why = {"kind": "agent", "reason": f"agent w1 is busy with task {TASK}", "since": SINCE, "age_s": 45.0}
    return {"task": TASK, "title": title, "target": "w1", "workflow": None, "step": None} | why | more


def run(workflow: str = "deploy", asks: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": TASK, "workflow": workflow, "version": 1, "status": "running", "paused": None, "started_at": SINCE,
            "steps": {"done": 2, "failed": 0, "all": 5}, "works": ["build"], "works_more": 0, "waits": [], "why": None,
            "asks": [{"step": f"gate{n}", "since": SINCE, "prompt": "Ship it?"} for n in range(asks)],
            "usage": {"tokens": 1, "cost": 0.25}} | more  # fmt: skip


def alert(what: str = "agent w1 is unhealthy", severity: str = "critical", **more: Any) -> dict[str, Any]:
    told = {"what": what, "why": "process stopped", "since": SINCE, "command": "maestro agent health w1"}
    return {"id": f"agent_unhealthy:{what}", "severity": severity, "snoozed_until": None} | told | more


def node(id: str = "vm-1", status: str = "up", **more: Any) -> dict[str, Any]:
    seen = {"disk_free_bytes": str(12 << 30), "disk_low": "", "store": ""}
    return {
        "id": id,
        "status": status,
        "held": False,
        "running": 2,
        "max_concurrent": 4,
        "reason": None,
        "seen": seen,
    } | more


def look(**parts: Any) -> dict[str, Any]:
    """A look. agents, queue, runs, alerts, nodes: rows; counts follow from these, as far as they are not given."""
    agents, alerts, runs = (parts.pop(name, []) for name in ("agents", "alerts", "runs"))
    queue: list[dict[str, Any]] = parts.pop("queue", [])
    states = ("active", "failed", "idle", "stopped")
    counts: dict[str, int] = {}
    for row in queue:
        counts[row["kind"]] = counts.get(row["kind"], 0) + 1
    return {
        "at": AT,
        "namespace": "default",
        "node": "vm-1",
        "position": 1234,
        "store": {"up": True, "why": None, "away_s": None},
        "nodes": [node()],
        "agents": agents,
        "agents_by_state": {"all": len(agents)} | {s: sum(row["state"] == s for row in agents) for s in states},
        "queue": {
            "waiting": len(queue),
            "running": 1,
            "counts": counts,
            "oldest": {kind: {"since": SINCE, "age_s": 45.0} for kind in counts},
            "first": queue,
        },
        "runs": runs,
        "runs_open": len(runs or ()),
        "alerts": alerts,
        "alerts_open": len(alerts or ()),
        "usage": {
            "total": {"tokens": 1_234_567, "cost": 45.6},
            "today": {"tokens": 12_345, "cost": 1.5},
            "hour": {"tokens": 900, "cost": 0.12},
        },
        "monitors": [],
    } | parts
