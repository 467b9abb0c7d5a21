"""The programs of one run, the agent and what verifies it: launched, watched, and ended where they use up too much."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import trio

from maestro.agents.verdict import JudgedEnd
from maestro.model.errors import MaestroError
from maestro.model.events import RunUsageReported
from maestro.runtime.node.daemon_log import log
from maestro.runtime.provision import containment
from maestro.runtime.supervision.spec import End, Spec
from maestro.runtime.worker import disk_quota
from maestro.runtime.worker.budget import exceeded, raised_by
from maestro.runtime.worker.preparation import Job
from maestro.runtime.worker.run_appends import RunAppends
from maestro.runtime.worker.run_end import DAEMON_STOPPED, Seen, facts, may_be_signalled
from maestro.runtime.worker.run_observer import is_heard
from maestro.runtime.worker.run_process import RunProcess
from maestro.runtime.worker.run_services import RunServices

OBSERVE_EVERY_S = 0.25
"""How often the output of a run is looked at."""
USAGE_EVERY_S = 2.0
"""How often the usage of a run may become an event."""


class Stop(NamedTuple):
    """A stop that was asked for. force: SIGKILL at once; grace_s: seconds before SIGKILL, None for the spec's."""

    reason: str
    force: bool = False
    grace_s: float | None = None


class Programs:
    """The programs of one run. log: the run's. stopped: the last stop that was asked for; seen: what its judge needs to
    know besides the end that the warden tells.
    """

    def __init__(self, services: RunServices, run_log: RunAppends) -> None:
        self.stopped: Stop | None = None
        self.seen = Seen()
        self._services = services
        self._log = run_log
        self._launched: list[RunProcess] = []

    @property
    def process(self) -> RunProcess | None:
        """The process tree that was launched last, None before the first."""
        return self._launched[-1] if self._launched else None

    @property
    def pid(self) -> int:
        """The pid of the program that was launched last, 0 while it does not run yet."""
        return 0 if self.process is None else self.process.pid

    @property
    def over(self) -> bool:
        """Whether no process of the run is alive."""
        return self.process is None or self.process.end is not None

    @property
    def grace_s(self) -> float:
        """How many seconds the run may take to stop."""
        return 0.0 if self.process is None else self.process.spec.grace_s

    def stop(self, stop: Stop, lost: bool = False) -> None:
        """Ask for the end of the run.

        lost: the infrastructure ends it, so that it is run again; not so where its end was asked for already.
        """
        if lost and self.stopped is None:
            self.note(lost=stop.reason)
        self.stopped = stop
        if self.process is not None:
            self.process.stop(*stop)

    def end_unhealthy(self, reason: str) -> None:
        """Ask for the end of the run because its agent is unhealthy; a stop that was asked for before counts."""
        if self.stopped is None:
            self.note(unhealthy=reason)
            self.stop(Stop(f"its agent is unhealthy: {reason}"))

    def note(self, **seen: object) -> None:
        """Add to what the judge is told, by the names of `Seen`."""
        self.seen = msgspec.structs.replace(self.seen, **seen)

    async def launch(self, spec: Spec) -> RunProcess:
        """Give a program to a warden. Raises OSError."""
        process = await self._services.launcher.launch(spec)
        self._launched.append(process)
        return process

    async def follow(self, process: RunProcess, observed: Job | None = None) -> End:
        """Wait for the end of a program. observed: where what it prints becomes events meanwhile."""
        if self.stopped is not None:
            process.stop(*self.stopped)
        if observed is None:
            return await self._wait(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._observe, observed)
            end = await self._wait(process)
            nursery.cancel_scope.cancel()
        return end

    async def _wait(self, process: RunProcess) -> End:
        end = await process.wait()
        if self._services.departing() and self.stopped is None and may_be_signalled(end):
            self.note(lost=DAEMON_STOPPED)
        return end

    async def _observe(self, job: Job) -> None:
        """Let what the agent tells become events while it runs, and end the run where it exceeds a budget."""
        observer, reported_at = job.observer, trio.current_time() - USAGE_EVERY_S
        while True:
            if not await observer.advance():
                await trio.sleep(OBSERVE_EVERY_S)
            may_report_usage = trio.current_time() - reported_at >= USAGE_EVERY_S
            news = [fact for fact in observer.news() if may_report_usage or not isinstance(fact, RunUsageReported)]
            try:
                if news and not await self._log.append(*news):
                    return  # ended elsewhere: whoever did that has it stopped
            except MaestroError as error:
                log.warning("observing run %s: %s", job.run.id, error.line())
                return
            observer.note(news)
            if any(isinstance(fact, RunUsageReported) for fact in news):
                reported_at = trio.current_time()
            self._mind_budget(job)

    async def mind_disk(self, job: Job, limit: int) -> None:
        """Stop the run when its folders hold more than `limit` bytes; then return."""
        folders = [job.workspace, job.folder.tmp]
        if job.definition.private_home:
            folders.append(containment.home_of(self._services.context.settings.home, job.agent.id))
        await disk_quota.mind(tuple(folders), limit, self._use_up)

    def _mind_budget(self, job: Job) -> None:
        row = self._services.follower.plan.tasks.get(job.task.id)
        why = exceeded(job.definition.budget, row, job.run.id, job.observer.told.usage, raised_by(job.definition))
        if why is not None and self.seen.budget is None:
            self._use_up(why)

    def _use_up(self, why: str) -> None:
        """Stop the run: it has used up what it may."""
        self.note(budget=why)
        if self.process is not None:
            self.process.stop(why)

    async def look(self, job: Job, end: End) -> JudgedEnd:
        """What the judge sees of the end of the agent, all that it printed included."""
        if is_heard(job.definition):
            await job.observer.complete(end)
            self.note(told=job.observer.told)
            self._mind_budget(job)
        return facts(end, job.folder, job.run.timeout_s, self.seen)

    def settle(self) -> None:
        """Tell the wardens that the end of the run is in the log."""
        for process in self._launched:
            process.ack()

    def give_up(self) -> None:
        """Kill what there still is of the run, and forget all that was launched."""
        for process in self._launched:
            process.close()
        self._launched.clear()
