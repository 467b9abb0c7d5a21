"""One run's life on this node: `run.started`, the process, its end judged, `run.ended`.

Each append is under the run's last version, so that a run which was ended elsewhere (cancelled before its start, lost
with its node, restored away) is refused by the log and stopped here.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from maestro.agents.definitions import Definition
from maestro.agents.outcome import End, Verdict, judge
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import NewEvent, RunEnded, RunStarted, TaskDispatched
from maestro.model.task import Run, Task
from maestro.runtime.context import RESULT_INLINE_BYTES_MAX
from maestro.runtime.launching import RunProcess
from maestro.runtime.logs import log
from maestro.runtime.preparing import Prepared, prepare
from maestro.store.contract import Append, Committed, WorkEntry

if TYPE_CHECKING:
    from maestro.runtime.worker import Worker

LOST = frozenset({"lost"})
BACKOFF_S_MAX = 300.0


class Running:
    """A claimed hint on its way to `run.ended`, or dropped."""

    def __init__(self, worker: Worker, entry: WorkEntry) -> None:
        self.worker = worker
        self.entry = entry
        self.task_id = entry.run.rpartition("-")[0]
        self.agent_id = ""
        self.process: RunProcess | None = None
        self.version = entry.token
        self._stop: tuple[str, bool, float | None] | None = None
        self._lost = False

    def stop(self, reason: str, force: bool = False, grace_s: float | None = None, lost: bool = False) -> None:
        """Ask for the end of the run; lost: by the infrastructure, so that it is run again."""
        self._stop = (reason, force, grace_s)
        self._lost = self._lost or lost
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
        definition = Definition.from_dict(agent.definition)
        prepared = Prepared.place(self.worker.context.settings, agent, task, run)
        started = RunStarted(
            run.id, task.id, agent.id, self.worker.context.node, str(prepared.attempt), str(prepared.workspace)
        )
        if not await self._append(started):
            return
        try:
            dispatched = await self._dispatched(task)
            launch = await prepare(self.worker.context, prepared, definition, agent, task, run, dispatched)
            end = await self._watch(launch.spec)
        except MaestroError as error:
            end = End(spawn_error=error.line())
        finally:
            prepared.close()
        await self._finish(definition, task, run, agent, end, prepared)

    async def _dispatched(self, task: Task) -> TaskDispatched:
        context = self.worker.context
        event = await context.gateway.call(context.store.log.event, task.position)
        if event is None or not isinstance(event.fact, TaskDispatched):
            raise MaestroError(f"event {task.position}, the dispatch of {task.id}, is not in the log")
        return event.fact
