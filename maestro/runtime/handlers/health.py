"""`agent health`: the checks of an agent, made now, with the end of its log."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.runtime import protocol as p
from maestro.runtime.checks import Check, heartbeat_check, local_checks
from maestro.runtime.context import Call
from maestro.runtime.handlers import tasks
from maestro.runtime.handlers.agents import find
from maestro.runtime.rows import Row, when
from maestro.runtime.server import Handler
from maestro.runtime.tailing import last_lines


async def health(call: Call, command: p.AgentHealth) -> p.Done:
    """Exit code 0 where all checks hold, else 1."""
    context = call.context
    agent = await find(context, command.id)
    (sample,) = await context.call(context.store.work.samples, [f"agent:{agent.id}:last_heartbeat"])
    now = await context.now()
    checks = [Check("started", not agent.stopped, agent.reason or "stopped" if agent.stopped else "takes work")]
    if agent.node in (None, context.node):
        checks += await trio.to_thread.run_sync(local_checks, agent, (sample or {}).get("status", ""))
    age_s = None if sample is None or "at" not in sample else max(0, now - int(sample["at"])) / 1000
    if context.daemon is None or sample is not None or agent.node != context.node:
        checks.append(heartbeat_check(age_s))
    recorded = [name for name in agent.failed_checks if name not in {check.name for check in checks}]
    checks += [Check(name, False, agent.reason) for name in recorded]
    healthy = all(check.ok for check in checks)
    answer: Row = {
        "id": agent.id,
        "status": "healthy" if healthy else "unhealthy",
        "state": agent.state,
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
        "log": await _log(call, agent.task or agent.last_task, agent.id, command.log_lines),
    }
    if command.detail:
        answer["detail"] = {
            "type": agent.type,
            "workspace": agent.workspace,
            "node": agent.node,
            "run": agent.run or None,
            "sample": None if sample is None else {**sample, "at": when(int(sample.get("at", 0)))},
            "last_run_at": when(agent.last_run_at),
            "executable": agent.definition.get("executable"),
            "version": agent.definition.get("found_version") or None,
        }
    return p.Done(answer, 0 if healthy else 1)


async def _log(call: Call, task_id: str, agent: str, lines: int) -> list[str]:
    context = call.context
    task = await tasks.find(context, task_id) if task_id else None
    runs = [run for slot in task.slots for run in slot.runs if run.agent == agent and run.folder] if task else []
    if not runs or runs[-1].node != context.node or lines <= 0:
        return []
    return await trio.to_thread.run_sync(last_lines, Path(runs[-1].folder) / "agent.log", lines)


HANDLERS: dict[type[p.Command], Handler] = {p.AgentHealth: health}
