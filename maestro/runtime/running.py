"""One run's life on this node: `run.started`, the process, its end judged, `run.ended`.

Each append is under the run's last version, so that a run which was ended elsewhere (cancelled before its start, lost
with its node, restored away) is refused by the log and stopped here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, NewEvent, RunEnded, RunStarted, TaskDispatched
from maestro.model.task import Run, Task
from maestro.runtime.ending import ended, facts
from maestro.runtime.failures import told
from maestro.runtime.launching import RunProcess
from maestro.runtime.logs import log
from maestro.runtime.preparing import Prepared, place, workspace_of
from maestro.runtime.sockets import RunSocket, run_socket_path
from maestro.runtime.spec import End, Spec, Started
from maestro.store.contract import Append, Committed, WorkEntry
from maestro.workspaces.folders import RunFolder

if TYPE_CHECKING:
    from maestro.runtime.worker import Worker


class Running:
    """A claimed hint on its way to `run.ended`, or dropped."""

    def __init__(self, worker: Worker, entry: WorkEntry) -> None:
        self.worker = worker
        self.entry = entry
        self.task_id = entry.run.rpartition("-")[0]
        self.agent_id = ""
        self.process: RunProcess | None = None
        self.pid = 0
        self._version = entry.token
        self._stop: tuple[str, bool, float | None] | None = None
        self._lost: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing of it is alive; its end may be waiting for the store."""
        return self.process is None or self.process.end is not None

    def stop(self, reason: str, force: bool = False, grace_s: float | None = None, lost: bool = False) -> None:
        """Ask for the end of the run; lost: by the infrastructure, so that it is run again."""
        self._stop = (reason, force, grace_s)
        if lost:
            self._lost = reason
        if self.process is not None:
            self.process.stop(reason, force, grace_s)

    async def execute(self) -> None:
        """Start, watch and end the run; return at once where the hint is stale."""
        plan = self.worker.follower.plan
        found = plan.run(self.entry.run)
        if found is None:
            return
        task, run = found
        agent = plan.agents.get(run.agent)
        if agent is None or run.status != "released" or run.token != self.entry.token or task.cancel is not None:
            return
        self.agent_id = agent.id
        await self._begin(task, run, agent)

    async def _begin(self, task: Task, run: Run, agent: Agent) -> None:
        """Prepare while `run.started` is on its way; spawn only once that is in the log."""
        context = self.worker.context
        folder = place(context.settings, agent, task.id, run)
        workspace = workspace_of(agent, folder)
        started = RunStarted(run.id, task.id, agent.id, context.node, folder.attempt_path, workspace)
        specs: list[Spec] = []
        ends: list[End] = []

        async def prepare() -> None:
            try:
                dispatched = await context.insist(lambda: self._dispatched(task))
                specs.append(await Prepared(context, agent, run, folder, dispatched).spec())
            except MaestroError as error:
                ends.append(End(run.id, run.token, spawn_error=error.line()))
            except Exception as error:  # noqa: BLE001 - what has been started must end, whatever hinders it
                log.error("preparing run %s", run.id, exc_info=error)
                ends.append(End(run.id, run.token, spawn_error=f"it could not be prepared: {error}"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            may_start = await self._append(started)
            if not may_start:
                nursery.cancel_scope.cancel()
        if may_start:
            end = ends[0] if ends else await self._conduct(specs[0])
            await self._finish(run, agent, folder, end)

    async def _dispatched(self, task: Task) -> TaskDispatched:
        context = self.worker.context
        event = await context.gateway.call(context.store.log.event, task.position)
        if event is None or not isinstance(event.fact, TaskDispatched):
            raise MaestroError(f"event {task.position}, the dispatch of {task.id}, is not in the log")
        return event.fact

    async def _conduct(self, spec: Spec) -> End:
        """The run's end. What was cancelled before `run.started` came into the log is never spawned."""
        with contextlib.suppress(MaestroError):  # it cannot follow any more, so it hears of no cancel either
            await self.worker.follower.changed(self._version - 1)
        if self._stop is not None:
            return End(spec.run, spec.token, stopped=self._stop[0])
        try:
            return await self._serve_and_watch(spec)
        except Exception as error:  # noqa: BLE001 - a run that has been started must end
            if self.process is not None:
                self.process.close()
                self.process = None
            log.error("run %s could not be watched", spec.run, exc_info=error)
            return End(
                spec.run, spec.token, spawn_error=f"it could not be watched: {told(error) or error}", retriable=True
            )

    async def _serve_and_watch(self, spec: Spec) -> End:
        context = self.worker.context
        run_socket = RunSocket(context, spec.run, run_socket_path(context.settings.home, spec.run))
        async with trio.open_nursery() as nursery:
            await nursery.start(run_socket.listen)
            end = await self._watch(spec)
            nursery.cancel_scope.cancel()
        return end

    async def _watch(self, spec: Spec) -> End:
        process = await self.worker.launcher.launch(spec)
        self.process = process
        if self._stop is not None:
            process.stop(*self._stop)
        async for message in process.events:
            if isinstance(message, Started):
                self.pid = message.pid
        assert process.end is not None
        return process.end

    async def _finish(self, run: Run, agent: Agent, folder: RunFolder, end: End) -> None:
        context = self.worker.context
        seen = facts(end, folder, run.timeout_s, self._lost)
        fact = await context.insist(lambda: ended(context, run, agent, seen, end))
        await self._append(fact)
        if self.process is not None:
            self.process.ack()

    async def _append(self, fact: AnyFact) -> bool:
        """Append under the run's version; False where the run has gone another way meanwhile."""
        event = NewEvent(f"run:{self.entry.run}", fact, self._version)
        cause = str(self.entry.token)
        result = await self.worker.context.gateway.append(Append((event,), self.worker.actor, cause))
        if isinstance(result, Committed):
            self._version = result.last
            return True
        if isinstance(fact, RunEnded):
            log.warning("run %s was ended elsewhere first: %s is dropped", self.entry.run, fact.outcome)
        return False
