"""The final texts of a task's agents, out of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maestro.model.errors import Invalid, NotFound, Refused


def texts_of(task: Mapping[str, Any]) -> dict[str, str]:
    """The final texts of the last runs that have ended, by agent; by target where an agent has two parts of it."""
    last: dict[str, Any] = {run["target"]: run for run in task.get("runs", ()) if run["ended_at"]}
    texts: dict[str, str] = {}
    for target, run in last.items():
        texts[target if run["agent"] in texts else run["agent"]] = run["result"]
    return texts


def texts_asked_for(task: Mapping[str, Any], agent: str | None) -> dict[str, str]:
    """The final texts of a task, or of one agent of it.

    agent: its id, or the beginning of that. Raises Refused for a task that no agent has ended a run of yet, NotFound
    for an agent that has no part in it.
    """
    texts = texts_of(task)
    if agent is not None:
        named = [name for name in texts if name == agent] or [name for name in texts if name.startswith(agent)]
        if len(named) != 1:
            who = f"it has those of {', '.join(texts)}" if texts else f"it is {task['status']}"
            raise NotFound(f"task {task['id']} has no result of agent {agent!r}", mend=who)
        texts = {named[0]: texts[named[0]]}
    if task["finished_at"] is None and not texts:
        raise Refused(
            f"task {task['id']} is {task['status']}", mend=f"maestro task wait {task['id']} waits for its end"
        )
    return texts


def one_text(task: Mapping[str, Any], agent: str | None) -> str:
    """The final text of a task of one agent, or of the named one of several; "" where it has none. Raises Invalid."""
    texts = texts_asked_for(task, agent)
    if len(texts) > 1:
        raise Invalid(f"task {task['id']} has results of {', '.join(texts)}", "agent", "name one of them")
    return next(iter(texts.values()), "")
