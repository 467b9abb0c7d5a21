"""The appends of one run to the event log, each under the run's last version.

So a run that was ended elsewhere (cancelled before its start, lost with its node, restored away) is refused by the log
itself.
"""

from __future__ import annotations

import time

import msgspec

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, GuardDropped, NewEvent, RunEnded
from maestro.model.ids import task_of_run
from maestro.runtime.node.daemon_log import log
from maestro.runtime.supervision.spec import End
from maestro.runtime.worker.run_end import dead_at, with_return
from maestro.runtime.worker.run_services import RunServices
from maestro.store.contract import Append, Committed
from maestro.workspaces.archive.write.snapshot_writer import Torn
from maestro.workspaces.folders import RunFolder


class RunGuard:
    """The guard of the workspace of one run in failsafe mode: put before its program starts, ended before its end.

    owner: the agent whose workspace is guarded, "" for none.
    """

    def __init__(self, services: RunServices) -> None:
        self.owner = ""
        self._context = services.context
        self._failsafe = services.failsafe
        self._token = 0

    async def put(self, owner: Agent | None, run: str, token: int) -> End | None:
        """Guard the workspace of an agent where that is wanted; how the run ends where it cannot be."""
        if owner is None or not self._failsafe.wants(owner):
            return None
        try:
            await self._failsafe.guard(owner, task_of_run(run), run)
        except MaestroError as error:
            why = f"failsafe: its workspace cannot be archived before it: {error.line()}"
            return End(run, token, spawn_error=why, retriable=isinstance(error, Torn))
        self.owner, self._token = owner.id, token
        return None

    async def lift(self, fact: RunEnded, folder: RunFolder) -> tuple[RunEnded, tuple[NewEvent, ...]]:
        """Have the workspace go back where the run ends badly; its end, and the event that is to go with it else."""
        if not self.owner:
            return fact, ()
        if await self._failsafe.settle(self.owner, fact, dead_at(folder) or time.time_ns()):
            return await with_return(self._context, fact, self.owner, self._token), ()
        return fact, (NewEvent(f"agent:{self.owner}", GuardDropped(self.owner, fact.run, fact.outcome == "ok")),)


class RunAppends:
    """Appends the events of one run to the event log, for its execution. What the run prints is in a `CappedLog`.

    token: the log position of its release, 0 while that is not known. version: the position of the last event of the
    run that is known. ended: whether the log has its end.
    """

    def __init__(self, services: RunServices, run: str, token: int) -> None:
        self.token = self.version = token
        self.ended = False
        self._services = services
        self._run = run

    def has_begun(self, token: int) -> None:
        """Know that the log has the run's release, at position `token`, and its start right behind it."""
        self.token, self.version = token, token + 1

    async def append(self, *facts: AnyFact) -> bool:
        """Append facts of the run; False where it has gone another way meanwhile. Raises as `Gateway.append`."""
        return await self._commit(self._of(facts), len(facts) - 1)

    async def end(self, *facts: AnyFact, before: tuple[NewEvent, ...] = ()) -> bool:
        """Append the last facts of the run, with the end of its task where that follows at once; else as `append`.

        before: events of others that stand before them in the same append.
        """
        plain, last = self._of(facts), len(before) + len(facts) - 1
        if before:
            plain = msgspec.structs.replace(plain, events=before + plain.events)
        merged = self._services.task_ends.with_task_end(plain)
        if merged is not None and await self._commit(merged, last):
            return True
        return await self._commit(plain, last)

    async def abandon(self, agent: str, why: str) -> None:
        """End the run as lost where it was started and has not ended: nobody else on this node will end it."""
        if self.ended or self.version == self.token:
            return
        fact = RunEnded(self._run, task_of_run(self._run), agent, "lost", source="maestro", evidence=why)
        try:
            if not await self.append(fact):
                log.warning("run %s was ended elsewhere first: lost is dropped", self._run)
        except MaestroError as error:  # the next daemon of this node, or the scheduler, takes the run for lost
            log.error("the end of run %s is not in the log: %s", self._run, error.line())

    def _of(self, facts: tuple[AnyFact, ...]) -> Append:
        subject = f"run:{self._run}"
        events = (NewEvent(subject, facts[0], self.version), *(NewEvent(subject, fact) for fact in facts[1:]))
        return Append(events, self._services.actor, str(self.token))

    async def _commit(self, append: Append, last: int) -> bool:
        """Append; whether the log took it. last: which of the events is the last one of this run."""
        result = await self._services.context.gateway.append(append)
        if not isinstance(result, Committed):
            return False
        self.version = result.first + last
        self.ended = isinstance(append.events[last].fact, RunEnded)
        return True
