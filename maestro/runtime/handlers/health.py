"""The handler of `agent health`: the checks of an agent, made now, with the end of its last run's output."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.health import Check, is_fit, way_out
from maestro.runtime.handlers import task_list
from maestro.runtime.handlers.agent_list import find
from maestro.runtime.handlers.run_output import last_lines
from maestro.runtime.monitor.examination import examine_all, record
from maestro.runtime.monitor.work_sight import work_of
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores.across.pending import REMEDY, waiting_agents
from maestro.runtime.server.id_prefixes import agent_meant
from maestro.runtime.server.rows import Row, when


async def health(call: Call, command: p.AgentHealth) -> p.Done:
    """Examine an agent and append what changed, then answer. Exit code 0 where it is healthy and takes work, else 1."""
    context = call.context
    agent = await find(context, await agent_meant(context, command.id))
    made, (sample,) = await examine_all(context, [agent], await work_of(context, agent))
    await record(call, agent.id, made[agent.id])
    agent = await find(context, agent.id)
    waiting = await waiting_agents(context) if agent.stopped else {}
    checks = [_started(agent, waiting.get(agent.id, "")), *made[agent.id]]
    told = {check.name for check in checks}
    left = [name for name in agent.failed_checks if name not in told]  # found before, and nobody has looked since
    why = "it failed when it was looked at last" if agent.stopped else agent.reason
    checks += [Check(name, False, why, mend=way_out(agent, [name])) for name in left]
    healthy = is_fit(agent)
    answer: Row = {
        "id": agent.id,
        "status": "healthy" if healthy else "unhealthy",
        "state": agent.state,
        "checks": [msgspec.to_builtins(check) for check in checks],
    }
    log, is_cut = await _log(call, agent.task or agent.last_task, agent.id, command.log_lines)
    answer |= {"log": log, "log_truncated": is_cut}
    if not healthy:
        answer["mend"] = next((check.mend for check in checks if not check.ok and check.mend), way_out(agent))
    if command.detail:
        definition = AgentDefinition(agent.definition)
        answer["detail"] = {
            "type": agent.type,
            "workspace": agent.workspace,
            "node": agent.node,
            "run": agent.run or None,
            "sample": None if sample is None else {**sample, "at": when(int(sample.get("at", 0)))},
            "last_run_at": when(agent.last_run_at),
            "executable": definition.executable or None,
            "version": definition.found_version or None,
        }
    more = f"maestro agent logs {agent.id} --lines {command.log_lines} shows all of them"
    cut = p.Cut(len(log), "lines of the log", more) if is_cut else None
    return p.Done(answer, 0 if healthy else 1, cut)


def _started(agent: Agent, waiting: str) -> Check:
    if not agent.stopped:
        return Check("started", True, "takes work")
    if waiting:
        return Check("started", False, waiting, mend=REMEDY)
    return Check("started", False, agent.reason or "stopped", mend=f"maestro agent restart {agent.id}")


async def _log(call: Call, task_id: str, agent: str, lines: int) -> tuple[list[str], bool]:
    """The last lines of the agent's last run, none where that was on another node, and whether some are left out."""
    context = call.context
    task = await task_list.find(context, task_id) if task_id else None
    runs = [run for slot in task.slots for run in slot.runs if run.agent == agent and run.folder] if task else []
    if not runs or runs[-1].node != context.node or lines <= 0:
        return [], False
    return await trio.to_thread.run_sync(last_lines, Path(runs[-1].folder) / "agent.log", lines)


HANDLERS: dict[type[p.Command], Handler] = {p.AgentHealth: health}
