"""At a daemon's start: what became of the runs that this node's earlier daemon had on.

That daemon is dead (we hold its lock) and its wardens have ended their trees; each run has left a record of how it
ended, or none, and then it is lost.
"""

from __future__ import annotations

from pathlib import Path

from maestro.model.events import NewEvent
from maestro.model.task import Run, Task
from maestro.runtime.context import Context
from maestro.runtime.ending import ended, facts
from maestro.runtime.follower import Follower
from maestro.runtime.logs import log
from maestro.runtime.preparing import place
from maestro.runtime.record import read_record
from maestro.runtime.spec import End
from maestro.store.contract import Append, Committed

DAEMON_STOPPED = "the daemon stopped"
"""Why a daemon that ends stops its runs: they are lost, and run again."""


async def recover(context: Context, follower: Follower) -> None:
    """End every run that the plan has as running on this node."""
    for task in list(follower.plan.tasks.values()):
        for slot in task.slots:
            if slot.runs and slot.runs[-1].status == "running" and slot.runs[-1].node == context.node:
                await _end(context, follower, task, slot.runs[-1])


async def _end(context: Context, follower: Follower, task: Task, run: Run) -> None:
    agent = follower.plan.agents[run.agent]
    folder = place(context.settings, agent, task.id, run)
    end = _record(folder.record, run)
    lost = "the daemon of its node ended" if end is None or end.worker_gone or end.lost else None
    if end is not None and end.stopped == DAEMON_STOPPED:
        lost = DAEMON_STOPPED
    end = end or End(run.id, run.token, lost=True)
    seen, seen_end = facts(end, folder, run.timeout_s, lost), end
    fact = await context.insist(lambda: ended(context, run, agent, seen, seen_end))
    event = NewEvent(f"run:{run.id}", fact, run.version)
    result = await context.gateway.append(Append((event,), f"worker:{context.node}", str(run.token)))
    kept = isinstance(result, Committed)
    log.info("run %s of the earlier daemon: %s%s", run.id, fact.outcome, "" if kept else " (already ended)")


def _record(path: str, run: Run) -> End | None:
    try:
        end = read_record(Path(path).parent)
    except ValueError as error:
        log.warning("%s", error)
        return None
    return end if end is not None and end.token == run.token else None
