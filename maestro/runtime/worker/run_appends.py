"""The appends of one run to the event log, each under the run's last version.

So a run that was ended elsewhere (cancelled before its start, lost with its node, restored away) is refused by the log
itself.
"""

from __future__ import annotations

from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, NewEvent, RunEnded
from maestro.model.ids import task_of_run
from maestro.runtime.node.daemon_log import log
from maestro.runtime.worker.run_services import RunServices
from maestro.store.contract import Append, Committed


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
        return await self._commit(self._of(facts), len(facts))

    async def end(self, *facts: AnyFact) -> bool:
        """Append the last facts of the run, with the end of its task where that follows at once; else as `append`."""
        plain = self._of(facts)
        merged = self._services.task_ends.with_task_end(plain)
        if merged is not None and await self._commit(merged, len(facts)):
            return True
        return await self._commit(plain, len(facts))

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

    async def _commit(self, append: Append, count: int) -> bool:
        """Append; whether the log took it. count: of the events, how many, from the first, are this run's."""
        result = await self._services.context.gateway.append(append)
        if not isinstance(result, Committed):
            return False
        self.version = result.first + count - 1
        self.ended = isinstance(append.events[count - 1].fact, RunEnded)
        return True
