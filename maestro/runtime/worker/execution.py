"""The execution of one run on this node: its start, its program, the judgement of its end, each as events of the log.

Every append is under the run's last version, so that a run which was ended elsewhere (cancelled before its start, lost
with its node, restored away) is refused by the log and stopped here. `run_states.py` says what may follow what.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import trio

from maestro.agents import outcome
from maestro.agents.verdict import JudgedEnd
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import RunEnded, TaskDispatched
from maestro.model.ids import slot_of_run, task_of_run
from maestro.model.scheduling.sites import SHARED, Site, ground_of
from maestro.model.task import Run, Task
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import user_error
from maestro.runtime.supervision.spec import End, Spec
from maestro.runtime.worker import carried_files, step_results
from maestro.runtime.worker.preparation import Job, Prepared, place, start_of, verification_of, workplace
from maestro.runtime.worker.programs import Programs
from maestro.runtime.worker.run_appends import RunAppends, RunGuard
from maestro.runtime.worker.run_end import check_of, ended, facts, of_unhealthy, redacted
from maestro.runtime.worker.run_observer import RunObserver, is_heard, session_of
from maestro.runtime.worker.run_process import RunProcess
from maestro.runtime.worker.run_services import RunServices
from maestro.runtime.worker.run_states import AT_GATE, RunEvent, RunState, following
from maestro.runtime.worker.step_definitions import definition_for
from maestro.store.contract import WorkEntry


class Ready(NamedTuple):
    """What is to be launched for a run. spec: the agent; verification: what verifies a good end, None for nothing.

    dispatched: how its task was dispatched.
    """

    spec: Spec
    verification: Spec | None
    dispatched: TaskDispatched


class Execution:
    """The execution of one run: from a claimed hint, or in reserved room, where `begin` takes the place of the hint.

    services: of the worker. entry: the hint; its `entry` is "" where there is none. reserved_for: the agent of a run in
    reserved room and that whose workspace it is, () for one with a hint. agent_ids: these, () until they are known.
    furnished: the folder of the run is there. log: the run's appends. programs: what was launched for it.
    """

    def __init__(self, services: RunServices, entry: WorkEntry, reserved_for: tuple[str, ...] = ()) -> None:
        self.entry = entry
        self.task_id = task_of_run(entry.run)
        self.agent_ids = _named(reserved_for)
        self.log = RunAppends(services, entry.run, entry.token)
        self.programs = Programs(services, self.log)
        self.furnished = False
        self._guard = RunGuard(services)
        self._services = services
        self._state = RunState.CLAIMED
        if reserved_for:  # it may start at any moment: whoever holds the agent waits
            self._state = RunState.RESERVED
            for agent in self.agent_ids:
                services.gate.enter(agent)

    @property
    def agent_id(self) -> str:
        """Its agent, "" until that is known."""
        return self.agent_ids[0] if self.agent_ids else ""

    @property
    def process(self) -> RunProcess | None:
        """The process tree that was launched last, None before the first."""
        return self.programs.process

    @property
    def over(self) -> bool:
        """Whether no process of the run is alive; its end may be waiting for the store."""
        return self.programs.over

    # ---- its states ----

    def _move(self, event: RunEvent) -> None:
        """Go to the next state; the start gate counts the run for as long as its start is under way."""
        before, self._state = self._state, following(self._state, event)
        for agent in self.agent_ids:
            if self._state in AT_GATE and before not in AT_GATE:
                self._services.gate.enter(agent)
            elif before in AT_GATE and self._state not in AT_GATE:
                self._services.gate.leave(agent)

    def begin(self, token: int) -> None:
        """Know that the log has the release of a run in reserved room, at position `token`, and its start behind it."""
        self._move(RunEvent.BEGIN)
        self.entry = msgspec.structs.replace(self.entry, token=token)
        self.log.has_begun(token)

    def leave(self) -> None:
        """End this execution: the run has ended, or this node has given it up. Agents are not held for it any more."""
        self._move(RunEvent.LEAVE)

    # ---- its start ----

    async def execute(self) -> None:
        """Start, watch and end the run; return at once where the hint is stale. Call `leave` behind it."""
        plan = self._services.follower.plan
        found = plan.run(self.entry.run)
        if found is None:
            return
        task, run = found
        agent = plan.crew.agent(run.agent)
        has_begun = self._state is RunState.BEGUN
        status = "running" if has_begun else "released"
        if agent is None or run.status != status or run.token != self.entry.token:
            return
        if task.cancel is not None and not has_begun:
            return
        site = plan.crew.site(ground_of(task), agent)
        if not has_begun:
            if site is None or site.node not in (SHARED, self._services.context.node):
                return  # the workspace is elsewhere by now: the scheduler withdraws the run
            self.agent_ids = _named((agent.id, site.owner))
        job = await self._job(task, run, agent, site)
        self.furnished = True
        socket = await self._services.sockets.lend(run.id)
        try:
            ready = await (self._prepare if has_begun else self._start)(job, str(socket.path))
            if ready is not None:
                await self._conduct(job, ready)
        finally:
            self._services.sockets.give_back(socket)

    async def _job(self, task: Task, run: Run, agent: Agent, site: Site | None) -> Job:
        """What the run is about. site: where it would start now; what has begun works where its start says."""
        dispatched = await self._services.dispatch_of(task) if task.workflow else None
        folder = place(self._services.context.settings, agent, task.id, run.attempt)
        definition = definition_for(self._services.definitions.of(agent), dispatched)
        session, before = session_of(task.slots[slot_of_run(run.id)], task, run)
        observer = RunObserver(definition, run, folder, before)
        workspace = run.workspace or (site.workspace if site is not None else "")
        workspace = workspace or workplace(folder, self._services.context.node, task, run.id)
        owner = None if site is None else self._services.follower.plan.agents.get(site.owner)
        if owner is not None and owner.workspace != workspace:
            owner = None
        return Job(
            task, run, agent, folder, definition, observer, session, workspace, owner, dispatched, self.furnished
        )

    async def _start(self, job: Job, socket: str) -> Ready | End | None:
        """Prepare the run while `run.started` is on its way to the log; None where the log refuses that."""
        prepared: list[Ready | End] = []

        async def prepare() -> None:
            await trio.lowlevel.checkpoint()  # what is appended goes to the store first
            prepared.append(await self._make_ready(job, socket))

        await self._may_pass()
        self._move(RunEvent.PREPARE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            waiting = self._services.follower.plan.census
            ready_at = waiting.since(job.task.id, slot_of_run(job.run.id)) or job.run.released_at
            start = start_of(self._services.context.node, job.run, job.task.id, job.folder, job.workspace, ready_at)
            may_start = await self.log.append(start)
            if not may_start:
                nursery.cancel_scope.cancel()
        if not may_start:
            return None
        self._move(RunEvent.READY)
        return prepared[0]

    async def _prepare(self, job: Job, socket: str) -> Ready | End:
        """Prepare a run whose start is in the log."""
        self._move(RunEvent.PREPARE)
        await trio.lowlevel.checkpoint()
        ready = await self._make_ready(job, socket)
        self._move(RunEvent.READY)
        return ready

    async def _make_ready(self, job: Job, socket: str) -> Ready | End:
        """Put all in place that the run needs; what is to be launched, or the end of the run where that cannot be."""
        run = job.run
        try:
            dispatched = job.dispatched or await self._services.dispatch_of(job.task)
            prepared = Prepared(self._services, job, dispatched, socket)
            if why := await prepared.wrong_mode():
                self.programs.note(wrong_mode=why)
                return End(run.id, run.token, spawn_error=why)
            return Ready(await prepared.spec(), prepared.verification, dispatched)
        except MaestroError as error:
            return End(run.id, run.token, spawn_error=error.line())
        except Exception as error:  # noqa: BLE001 - what has been started must end, whatever hinders it
            log.error("preparing run %s", run.id, exc_info=error)
            return End(run.id, run.token, spawn_error=f"it could not be prepared: {error}")

    # ---- from its start to its end ----

    async def _conduct(self, job: Job, ready: Ready | End) -> None:
        """Launch what is ready, watch it, and append how it ended."""
        end, seen = (ready, None) if isinstance(ready, End) else await self._launch(job, ready)
        self._move(RunEvent.OVER)
        seen = seen or facts(end, job.folder, job.run.timeout_s, self.programs.seen)
        context = self._services.context
        verdict = of_unhealthy(outcome.judge(job.definition, seen), self.programs.seen)
        verdict = redacted(context, job.definition, verdict)
        files: carried_files.Files = {}
        if isinstance(ready, Ready):
            held = carried_files.Held(job.workspace, ready.spec.lock, ready.spec.folder)
            verdict, files = await carried_files.capture(context, ready.dispatched, verdict, held)
        fact = await context.insist(lambda: ended(context, job.task, job.run, verdict, end))
        fact = msgspec.structs.replace(fact, files=files) if files else fact
        if job.dispatched is not None:
            fact = await step_results.completed(context, job.definition, job.dispatched, job.folder, (fact, seen))
        await self._finish(job, fact)

    async def _launch(self, job: Job, ready: Ready) -> tuple[End, JudgedEnd | None]:
        """Launch the run, unless it was cancelled; its end as its warden tells it, and for its judge if launched."""
        spec = ready.spec
        try:
            await self._services.follower.changed(self.log.version - 1)
        except MaestroError as error:  # it cannot follow any more, so it hears of no cancel either
            log.debug("run %s starts though the log is not followed: %s", spec.run, error.line())
        if self.programs.stopped is not None:
            return End(spec.run, spec.token, stopped=self.programs.stopped.reason), None
        if self._is_kept_out(job):
            return End(spec.run, spec.token, spawn_error="its workspace is held by another step", retriable=True), None
        hindered = await self._guard.put(job.owner, spec.run, spec.token)
        if hindered is None and self.programs.stopped is not None:  # while its workspace was archived
            hindered = End(spec.run, spec.token, stopped=self.programs.stopped.reason)
        if hindered is not None:
            return hindered, None
        try:
            held = carried_files.Held(job.workspace, spec.lock, spec.folder)
            await carried_files.bring(self._services.context, ready.dispatched, held)
        except MaestroError as error:
            return End(spec.run, spec.token, spawn_error=error.line()), None
        try:
            return await self._within_disk_limit(job, ready)
        except Exception as error:  # noqa: BLE001 - a run that has been started must end
            self.programs.give_up()
            log.error("run %s could not be watched", spec.run, exc_info=error)
            why = f"it could not be watched: {user_error(error) or error}"
            return End(spec.run, spec.token, spawn_error=why, retriable=True), None

    def end_unhealthy(self, reason: str) -> None:
        """End the run where its workspace is guarded: its agent has become unhealthy."""
        if self._guard.owner and not self.over:
            self.programs.end_unhealthy(reason)

    def _is_kept_out(self, job: Job) -> bool:
        """Whether something else holds the workspace since before the run has started."""
        plan, holder = self._services.follower.plan, (job.task.workflow, job.task.step)
        live = plan.crew.live.get(job.run.id)
        return live is not None and live.place is not None and plan.holds.keeps_out(live.place, holder)

    async def _within_disk_limit(self, job: Job, ready: Ready) -> tuple[End, JudgedEnd]:
        limit = job.definition.resource_limits.disk
        if limit is None:
            return await self._watch_and_judge(job, ready)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.programs.mind_disk, job, limit)
            result = await self._watch_and_judge(job, ready)
            nursery.cancel_scope.cancel()
        return result

    async def _watch_and_judge(self, job: Job, ready: Ready) -> tuple[End, JudgedEnd]:
        self._move(RunEvent.LAUNCH)
        end = await self._watch(ready.spec, job if is_heard(job.definition) else None)
        seen = await self.programs.look(job, end)
        if job.dispatched is not None:
            evaluator = self._services.evaluator
            seen = await step_results.fitted(evaluator, job.definition, job.dispatched, job.folder, seen)
        check = ready.verification
        if check is not None and outcome.judge(job.definition, seen).outcome == "ok":
            self._move(RunEvent.VERIFY)
            check_end = await self._watch(check)
            lost = self.programs.seen.lost  # read behind the end, as it may be known only then
            checked = check_of(check_end, verification_of(job.folder), job.folder, lost)
            seen = msgspec.structs.replace(seen, check=checked)
        return end, seen

    async def _watch(self, spec: Spec, observed: Job | None = None) -> End:
        """Launch a program, once the agent is not held, and wait for its end."""
        await self._may_pass()
        for agent in self.agent_ids:
            self._services.gate.enter(agent)
        try:
            process = await self.programs.launch(spec)
        finally:
            for agent in self.agent_ids:
                self._services.gate.leave(agent)
        return await self.programs.follow(process, observed)

    async def _may_pass(self) -> None:
        """Wait while its agent is held, or that whose workspace it is."""
        gate = self._services.gate
        while held := [agent for agent in self.agent_ids if gate.held(agent)]:
            await gate.opens(held[0], self)

    async def _finish(self, job: Job, fact: RunEnded) -> None:
        """Append how the run ended, once its workspace is as it should be, and let its wardens know."""
        with self._services.gate.aside(self):
            fact, before = await self._guard.lift(fact, job.folder)
        if not await self.log.end(*job.observer.news(), fact, before=before):
            log.warning("run %s was ended elsewhere first: %s is dropped", job.run.id, fact.outcome)
        self.programs.settle()
        if job.dispatched is not None or is_heard(job.definition):
            job.observer.forget()


def _named(agents: tuple[str, ...]) -> tuple[str, ...]:
    """The agents, each once, without "" for none."""
    return tuple(dict.fromkeys(filter(None, agents)))
