"""The agents as a monitor shows them: what each does, since when, and what it has printed last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from maestro.model.agent import Agent
from maestro.model.task import Run, Task
from maestro.runtime.handlers.run_output import newest_lines
from maestro.runtime.server.rows import Row, agent_row, when

STATES = ("active", "failed", "idle", "stopped")
"""The states of agents, those that a person looks for first."""
LINES_MAX = 20
"""So many last lines of an agent are read at most; whole logs are asked for by `agent logs`."""


def chosen(agents: Sequence[Agent], state: str, limit: int) -> list[Agent]:
    """The agents to show: those that work first, then those that fail, each by id. state: "" for all."""
    ranks = {name: rank for rank, name in enumerate(STATES)}
    found = [agent for agent in agents if state in ("", counts_as(agent))]
    return sorted(found, key=lambda agent: (ranks[counts_as(agent)], agent.id))[:limit]


def counts_as(agent: Agent) -> str:
    """The state by which a monitor counts an agent: `failed` also for one that works and is unhealthy."""
    return "failed" if agent.state == "active" and not agent.healthy else agent.state


def counted(agents: Sequence[Agent]) -> dict[str, int]:
    """How many agents are in each state; `all` of them."""
    counts = Counter(map(counts_as, agents))
    return {"all": len(agents)} | {state: counts[state] for state in STATES}


def last_run(agent: Agent, tasks: Mapping[str, Task | None]) -> tuple[Task, Run] | None:
    """The run that an agent has, else its last one, of the tasks that are known."""
    task = tasks.get(agent.task or agent.last_task)
    runs = [run for slot in task.slots for run in slot.runs if run.agent == agent.id] if task is not None else []
    return (task, runs[-1]) if task is not None and runs else None


def seen_row(agent: Agent, sample: dict[str, str] | None, now: int, last: tuple[Task, Run] | None) -> Row:
    """The row of an agent, as lists have it, with what it does (`doing`) or did last (`did`). lines: to be filled."""
    row = agent_row(agent, sample, now)
    row["counts_as"] = counts_as(agent)
    row["failed_checks"] = list(agent.failed_checks)
    row["processes"] = int(sample.get("processes", 0)) if sample else None
    row["process_status"] = (sample.get("status") or None) if sample else None
    row |= {"doing": None, "did": None, "lines": []}
    if last is not None:
        task, run = last
        told: Row = {
            "task": task.id,
            "title": task.title,
            "attempt": run.attempt,
            "workflow": task.workflow or None,
            "step": task.step or None,
            "usage": {"tokens": run.input_tokens + run.output_tokens, "cost": round(run.cost, 9)},
        }
        if run.status == "ended":
            row["did"] = told | {"outcome": run.outcome or None, "at": when(run.ended_at)}
        else:
            row["doing"] = told | {"since": when(run.started_at or run.released_at), "started": run.status == "running"}
    return row


def read_lines(folders: Mapping[str, str], lines: int) -> dict[str, list[str]]:
    """The last lines of runs' logs, by agent, without those that cannot be read. Blocks."""
    found = {}
    for agent, folder in folders.items():
        try:
            said = newest_lines(Path(folder) / "agent.log", min(lines, LINES_MAX))
        except OSError:
            continue
        found[agent] = [line.expandtabs(4).strip() for line in said]
    return found
