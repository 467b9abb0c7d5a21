"""The daemon as the handlers of commands see it: its runs, its plan, and how to end it."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.model.scheduling.plan import Plan
from maestro.model.task import Task
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.pause import Pause
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.worker.worker import Worker
from maestro.store.contract import Committed


class NodeDaemon:
    """What handlers see of the daemon; see context.Daemon."""

    def __init__(self, context: Context, worker: Worker, follower: Follower) -> None:
        self.context = context
        self.worker = worker
        self.follower = follower
        self.scheduler: Scheduler | None = None
        self.ending = trio.Event()
        self.start_anew = False
        self.evicted: Refused | None = None
        self.taken = False

    def evict(self, why: Refused, taken: bool) -> None:
        """End, as the home is not this daemon's any more; taken: it is another one's."""
        log.error(why.line())
        self.evicted, self.taken = why, taken
        self.stop()

    def running(self) -> int:
        """How many runs are on here."""
        return len(self.worker.runs)

    def drain(self, reason: str) -> None:
        """Claim nothing more; start anew when the last run has ended."""
        if not self.worker.draining:
            log.info("draining: %s", reason)
            self.worker.draining = True
            self.start_anew = True

    def starts_anew(self) -> bool:
        """Whether another daemon follows at once when this one ends."""
        return self.start_anew

    def stop(self) -> None:
        """End in order, for good."""
        self.start_anew = False
        self.ending.set()

    def tasks_here(self) -> list[str]:
        """Ids of the tasks that run here."""
        return sorted({running.task_id for running in self.worker.runs.values()})

    def stop_runs(self, reason: str, grace_s: float) -> None:
        """Stop every run that is on here."""
        self.worker.stop_all(reason, force=False, grace_s=grace_s)

    def plan(self) -> Plan:
        """What the scheduler knows."""
        return self.follower.plan

    async def dispatch(self, events: Sequence[NewEvent], actor: str, cause: str) -> Committed | None:
        """Append a dispatch with what follows from it at once, if that can be foreseen here."""
        return None if self.scheduler is None else await self.scheduler.dispatch(events, actor, cause)

    async def news(self, task: str) -> None:
        """Return after the next event of an open task."""
        await self.follower.news(task)

    def finished(self, task: str) -> Task | None:
        """The task, if it is one of those that ended last."""
        return self.follower.finished.get(task)

    async def changed(self, after: int) -> None:
        """Return when the log has grown behind `after`."""
        await self.follower.changed(after)

    async def run_gone(self, agent: str) -> None:
        """Return when no run of that agent ("": of any) is on here."""
        await self.worker.empty(agent)

    def stillness(self) -> Pause:
        """A way to hold the runs here still."""
        return self.worker.stillness()

    async def end_when_drained(self) -> None:
        """Set `ending` once a drain has run dry."""
        while not (self.worker.draining and self.start_anew and not self.worker.runs):
            await trio.sleep(0.1)
        self.ending.set()
