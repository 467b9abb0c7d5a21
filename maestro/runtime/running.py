"""One run's life on this node: `run.started`, the process, its end judged, `run.ended`.

Each append is under the run's last version, so that a run which was ended elsewhere (cancelled before its start, lost
with its node, restored away) is refused by the log and stopped here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import AnyFact, NewEvent, RunEnded, RunStarted, TaskDispatched
from maestro.model.task import Run, Task
from maestro.runtime.ending import ended, facts
from maestro.runtime.launching import RunProcess
from maestro.runtime.logs import log
from maestro.runtime.preparing import Prepared, place, workspace_of
from maestro.runtime.sockets import RunSocket, run_socket_path
from maestro.runtime.spec import End, Spec, Started
from maestro.store.contract import Append, Committed, WorkEntry
from maestro.workspaces.folders import RunFolder

if TYPE_CHECKING:
    from maestro.runtime.worker import Worker

AWAY_RETRY_S = 0.3

T = TypeVar("T")


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

        async def prepared() -> Spec:
            return await Prepared(context, agent, run, folder, await self._dispatched(task)).spec()

        async def prepare() -> None:
            try:
                specs.append(await self._patiently(prepared))
            except MaestroError as error:
                ends.append(End(run.id, run.token, spawn_error=error.line()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            may_start = await self._append(started)
        if may_start:
            end = ends[0] if ends else await self._serve_and_watch(specs[0])
            await self._finish(run, agent, folder, end)

    async def _dispatched(self, task: Task) -> TaskDispatched:
        context = self.worker.context
        event = await context.gateway.call(context.store.log.event, task.position)
        if event is None or not isinstance(event.fact, TaskDispatched):
            raise MaestroError(f"event {task.position}, the dispatch of {task.id}, is not in the log")
        return event.fact

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
        seen = facts(end, folder, run.timeout_s, self._lost)
        fact = await self._patiently(lambda: ended(self.worker.context, run, agent, seen, end))
        await self._append(fact)
        if self.process is not None:
            self.process.ack()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again while the store is away: a run whose start is in the log must come to its end there."""
        while True:
            try:
                return await ask()
            except StoreAway as error:
                log.warning("run %s waits for the store: %s", self.entry.run, error.line())
                await trio.sleep(AWAY_RETRY_S)

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
