"""One run's life on this node: `run.started`, the process, what it tells, its end judged and verified, `run.ended`.

Each append is under the run's last version, so that a run which was ended elsewhere (cancelled before its start, lost
with its node, restored away) is refused by the log and stopped here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio

from maestro.agents import outcome
from maestro.model.errors import MaestroError
from maestro.model.events import RunUsageReported, TaskDispatched
from maestro.model.ids import slot_of_run, task_of_run
from maestro.model.task import Task
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import told
from maestro.runtime.provision import containment
from maestro.runtime.supervision.spec import End, Spec, Started
from maestro.runtime.worker import disk_quota
from maestro.runtime.worker.budget import exceeded
from maestro.runtime.worker.launcher_client import RunProcess
from maestro.runtime.worker.preparation import Job, Prepared, place, start_of, verification_of, workspace_of
from maestro.runtime.worker.run_end import DAEMON_STOPPED, Seen, check_of, ended, facts, may_be_signalled
from maestro.runtime.worker.run_log import RunLog
from maestro.runtime.worker.run_observer import RunObserver, is_heard, session_of
from maestro.store.contract import WorkEntry

if TYPE_CHECKING:
    from maestro.runtime.worker.worker import Worker

HEAR_EVERY_S = 0.25
USAGE_EVERY_S = 2.0
"""How often a run's output is looked at, and how often its usage may become an event."""


class Ready(NamedTuple):
    """What is to be launched: the agent, and after a good end what verifies it."""

    spec: Spec
    verification: Spec | None


class Execution:
    """A claimed hint on its way to `run.ended`, or dropped. furnished: its folder is there, or about to be made."""

    def __init__(self, worker: Worker, entry: WorkEntry) -> None:
        self.worker = worker
        self.entry = entry
        self.task_id = task_of_run(entry.run)
        self.agent_id = ""
        self.process: RunProcess | None = None
        self.pid = 0
        self.log = RunLog(worker, entry.run, entry.token)
        self.furnished = self._begun = self._in_door = False
        self._stop: tuple[str, bool, float | None] | None = None
        self._launched: list[RunProcess] = []
        self._seen = Seen()

    @property
    def over(self) -> bool:
        """Whether nothing of it is alive; its end may be waiting for the store."""
        return self.process is None or self.process.end is not None

    @property
    def grace_s(self) -> float:
        """How long it may take to stop."""
        return 0.0 if self.process is None else self.process.spec.grace_s

    def stop(self, reason: str, force: bool = False, grace_s: float | None = None, lost: bool = False) -> None:
        """Ask for the end of the run; lost: by the infrastructure, so that it is run again, unless it was to end
        already.
        """
        if lost and self._stop is None:
            self._note(lost=reason)
        self._stop = (reason, force, grace_s)
        if self.process is not None:
            self.process.stop(reason, force, grace_s)

    def reserve(self, agent: str) -> None:
        """It may start at any moment: who holds its agent waits until it is `through_the_door`."""
        self.agent_id, self._in_door = agent, True
        self.worker.holds.enter(agent)

    def through_the_door(self) -> None:
        """What was reserved is prepared, or will never be."""
        if self._in_door:
            self._in_door = False
            self.worker.holds.leave(self.agent_id)

    def has_begun(self, token: int) -> None:
        """The log has its start already, right behind its release at this position."""
        self._begun = True
        self.entry = msgspec.structs.replace(self.entry, token=token)
        self.log.has_begun(token)

    async def execute(self) -> None:
        """Start, watch and end the run; return at once where the hint is stale."""
        plan = self.worker.follower.plan
        found = plan.run(self.entry.run)
        if found is None:
            return
        task, run = found
        agent = plan.agents.get(run.agent)
        status = "running" if self._begun else "released"
        if agent is None or run.status != status or run.token != self.entry.token:
            return
        if task.cancel is not None and not self._begun:
            return
        self.agent_id = agent.id
        folder = place(self.worker.context.settings, agent, task.id, run.attempt)
        definition = self.worker.definition(agent)
        session, before = session_of(task.slots[slot_of_run(run.id)], task, run)
        hearing = RunObserver(definition, run, folder, before)
        job = Job(task, run, agent, folder, definition, hearing, session, self.furnished)
        self.furnished = True
        socket = await self.worker.sockets.lend(run.id)
        try:
            await self._begin(job, str(socket.path))
        finally:
            self.worker.sockets.give_back(socket)

    async def _begin(self, job: Job, socket: str) -> None:
        """Prepare while `run.started` is on its way; spawn only once that is in the log."""
        context, folder = self.worker.context, job.folder
        prepared: list[Ready | End] = []

        async def prepare() -> None:
            await trio.lowlevel.checkpoint()  # what is appended goes to the store first
            prepared.append(await self._prepare(job, socket))

        if self._begun:
            await prepare()
            self.through_the_door()
            may_start = True
        else:
            async with self.worker.holds.passing(self.agent_id, self), trio.open_nursery() as nursery:
                nursery.start_soon(prepare)
                may_start = await self.log.append(start_of(context.node, job.run, job.task.id, job.agent, folder))
                if not may_start:
                    nursery.cancel_scope.cancel()
        if may_start:
            ready = prepared[0]
            end, seen = (ready, None) if isinstance(ready, End) else await self._conduct(job, ready)
            await self._finish(job, end, seen or facts(end, folder, job.run.timeout_s, self._seen))

    async def _prepare(self, job: Job, socket: str) -> Ready | End:
        """Everything in place, or why it cannot be."""
        context, run = self.worker.context, job.run
        try:
            dispatched = self.worker.follower.dispatched(job.task.id)
            if dispatched is None:
                dispatched = await context.insist(lambda: self._dispatched(job.task))
            prepared = Prepared(context, job, dispatched, socket)
            if why := await prepared.wrong_mode():
                self._note(wrong_mode=why)
                return End(run.id, run.token, spawn_error=why)
            return Ready(await prepared.spec(), prepared.verification)
        except MaestroError as error:
            return End(run.id, run.token, spawn_error=error.line())
        except Exception as error:  # noqa: BLE001 - what has been started must end, whatever hinders it
            log.error("preparing run %s", run.id, exc_info=error)
            return End(run.id, run.token, spawn_error=f"it could not be prepared: {error}")

    async def _dispatched(self, task: Task) -> TaskDispatched:
        context = self.worker.context
        event = await context.gateway.ask(context.store.log.event, task.position)
        if event is None or not isinstance(event.fact, TaskDispatched):
            raise MaestroError(f"event {task.position}, the dispatch of {task.id}, is not in the log")
        return event.fact

    async def _conduct(self, job: Job, ready: Ready) -> tuple[End, outcome.End | None]:
        """The run's end, and what its judge sees. What was cancelled before `run.started` came into the log is never
        spawned.
        """
        spec = ready.spec
        with contextlib.suppress(MaestroError):  # it cannot follow any more, so it hears of no cancel either
            await self.worker.follower.changed(self.log.version - 1)
        if self._stop is not None:
            return End(spec.run, spec.token, stopped=self._stop[0]), None
        try:
            return await self._conduct_to_end(job, ready)
        except Exception as error:  # noqa: BLE001 - a run that has been started must end
            for process in self._launched:
                process.close()
            self._launched.clear()
            self.process = None
            log.error("run %s could not be watched", spec.run, exc_info=error)
            why = f"it could not be watched: {told(error) or error}"
            return End(spec.run, spec.token, spawn_error=why, retriable=True), None

    async def _conduct_to_end(self, job: Job, ready: Ready) -> tuple[End, outcome.End]:
        if job.definition.resource_limits.disk is None:
            return await self._watch_and_judge(job, ready)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mind_disk, job)
            result = await self._watch_and_judge(job, ready)
            nursery.cancel_scope.cancel()
        return result

    async def _watch_and_judge(self, job: Job, ready: Ready) -> tuple[End, outcome.End]:
        end = await self._watch(ready.spec, job if is_heard(job.definition) else None)
        seen = await self._look(job, end)
        check = ready.verification
        if check is not None and outcome.judge(job.definition, seen).outcome == "ok":
            checked = check_of(await self._watch(check), verification_of(job.folder), job.folder, self._seen.lost)
            seen = msgspec.structs.replace(seen, check=checked)
        return end, seen

    async def _watch(self, spec: Spec, heard: Job | None = None) -> End:
        """Launch it and wait for its end; what it tells meanwhile is heard."""
        async with self.worker.holds.passing(self.agent_id, self):
            process = await self.worker.launcher.launch(spec)
            self.process = process
        self._launched.append(process)
        if self._stop is not None:
            process.stop(*self._stop)
        if heard is None:
            return await self._follow(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, heard)
            end = await self._follow(process)
            nursery.cancel_scope.cancel()
        return end

    async def _follow(self, process: RunProcess) -> End:
        async for message in process.events:
            if isinstance(message, Started):
                self.pid = message.pid
        assert process.end is not None
        if self.worker.departing and self._stop is None and may_be_signalled(process.end):
            self._note(lost=DAEMON_STOPPED)
        return process.end

    async def _hear(self, job: Job) -> None:
        """Let what the run tells become events while it goes on, and end it where it exceeds a budget."""
        hearing, reported_at = job.hearing, trio.current_time() - USAGE_EVERY_S
        while True:
            if not await hearing.advance():
                await trio.sleep(HEAR_EVERY_S)
            news = hearing.news()
            may_report_usage = trio.current_time() - reported_at >= USAGE_EVERY_S
            news = [fact for fact in news if may_report_usage or not isinstance(fact, RunUsageReported)]
            try:
                if news and not await self.log.append(*news):
                    return  # ended elsewhere: whoever did that has it stopped
            except MaestroError as error:
                log.warning("hearing run %s: %s", job.run.id, error.line())
                return
            hearing.note(news)
            if any(isinstance(fact, RunUsageReported) for fact in news):
                reported_at = trio.current_time()
            self._mind_budget(job)

    async def _mind_disk(self, job: Job) -> None:
        """End a run that fills more of the disk than its type allows."""

        def over(why: str) -> None:
            self._note(budget=why)
            if self.process is not None:
                self.process.stop(why)

        limit = job.definition.resource_limits.disk
        assert limit is not None
        folders = [workspace_of(job.agent, job.folder), job.folder.tmp]
        if job.definition.private_home:
            folders.append(containment.home_of(self.worker.context.settings.home, job.agent.id))
        await disk_quota.mind(tuple(folders), limit, over)

    def _mind_budget(self, job: Job) -> None:
        row = self.worker.follower.plan.tasks.get(job.task.id)
        why = exceeded(job.definition.budget, row, job.run.id, job.hearing.told.usage)
        if why is not None and self._seen.budget is None:
            self._note(budget=why)
            if self.process is not None:
                self.process.stop(why)

    async def _look(self, job: Job, end: End) -> outcome.End:
        """What the judge sees of an end."""
        if is_heard(job.definition):
            await job.hearing.complete(end)
            self._note(told=job.hearing.told)
            self._mind_budget(job)
        return facts(end, job.folder, job.run.timeout_s, self._seen)

    async def _finish(self, job: Job, end: End, seen: outcome.End) -> None:
        context = self.worker.context
        verdict = outcome.judge(job.definition, seen)
        fact = await context.insist(lambda: ended(context, job.task, job.run, verdict, end))
        news = job.hearing.news()
        if not await self.log.append_with_task(*news, fact) and not await self.log.append(*news, fact):
            log.warning("run %s was ended elsewhere first: %s is dropped", job.run.id, fact.outcome)
        for process in self._launched:
            process.ack()
        if is_heard(job.definition):
            job.hearing.forget()

    def _note(self, **seen: object) -> None:
        self._seen = msgspec.structs.replace(self._seen, **seen)
