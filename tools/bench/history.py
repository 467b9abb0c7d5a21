"""A plausible history for a log: agents, and tasks that were dispatched, ran and finished, five events each."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.model import events as e
from maestro.model.ids import run_id
from maestro.store.contract import Append

AGENTS = 8
EVENTS_PER_TASK = 5
NODE = "bench"
ACTOR = "bench"
ROOT = "/var/lib/runs"


def agents() -> Append:
    """The agents of the tasks, assigned in one append."""
    definition = {"slug": "worker", "mode": "script", "adapter": "shell", "bin": "/bin/sh", "argv": ["{bin}"]}
    assigned = (e.AgentAssigned(agent(number), "worker", definition, ROOT) for number in range(AGENTS))
    return Append(tuple(e.NewEvent(f"agent:{fact.agent}", fact, 0) for fact in assigned), ACTOR, "bench:agents")


def finished_tasks(first: int, last: int) -> Iterator[Append]:
    """The tasks numbered first..last, one append each."""
    for number in range(first, last + 1):
        yield Append(tuple(finished_task(number)), ACTOR, f"bench:{number}")


def finished_task(number: int) -> Iterator[e.NewEvent]:
    """All events of one task. Task ids sort as the numbers do."""
    task = f"{number:026d}"
    run = run_id(task, 0, 1)
    who = agent(number)
    prompt = f"Review change {number}: check for security issues, code style and missing tests, and say what you found."
    folder = f"{ROOT}/{who}/{task}/attempts/1"
    dispatched = e.TaskDispatched(task, prompt, prompt[:60], (who,))
    released = e.RunReleased(run, task, 0, 1, who, NODE, 1800, 0, reason="its agent and a place were free")
    started = e.RunStarted(run, task, who, NODE, folder, f"{ROOT}/{who}/{task}/workspace")
    ended = e.RunEnded(run, task, who, "ok", 0, result="no issues found", duration_ms=1234, output_bytes=16)
    finished = e.TaskFinished(task, "completed", "ok", 0)
    yield e.NewEvent(f"task:{task}", dispatched, 0)
    yield e.NewEvent(f"run:{run}", released, 0)
    yield e.NewEvent(f"run:{run}", started)
    yield e.NewEvent(f"run:{run}", ended)
    yield e.NewEvent(f"task:{task}", finished)


def agent(number: int) -> str:
    """The agent of a task, taking turns."""
    return f"worker-{number % AGENTS}"
