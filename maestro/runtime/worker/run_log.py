"""A run's way into the log: what its worker appends, each under the run's last version.

So a run that was ended elsewhere (cancelled before its start, lost with its node, restored away) is refused by the log
itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, NewEvent, RunEnded
from maestro.model.ids import task_of_run
from maestro.model.scheduling.foresight import after_end
from maestro.store.contract import Append, Committed, Fence

if TYPE_CHECKING:
    from maestro.runtime.worker.worker import Worker


class RunLog:
    """Of one run. token: the position of its release; version: of the run, the last event that is known of it.

    ended: the log has its end.
    """

    def __init__(self, worker: Worker, run: str, token: int) -> None:
        self.token = self.version = token
        self.ended = False
        self._worker = worker
        self._run = run

    def has_begun(self, token: int) -> None:
        """The log has its start already, right behind its release at this position."""
        self.token, self.version = token, token + 1

    async def append(self, *facts: AnyFact) -> bool:
        """Append; False where the run has gone another way meanwhile."""
        return await self._commit(facts, (), None)

    async def append_with_task(self, *facts: AnyFact) -> bool:
        """Append the last facts of the run with the end of its task, where this daemon leads and can foresee that;
        False where it cannot, or where the log knows better.
        """
        fence, last = self._worker.fence(), facts[-1]
        if fence is None or not isinstance(last, RunEnded):
            return False
        follows = after_end(self._worker.follower.plan, last)
        return bool(follows) and await self._commit(facts, tuple(follows), fence)

    async def abandon(self, agent: str, why: str) -> None:
        """End it as lost, should it have been started and not ended: nobody else on this node will."""
        if self.ended or self.version == self.token:
            return
        task = task_of_run(self._run)
        with contextlib.suppress(MaestroError):
            await self.append(RunEnded(self._run, task, agent, "lost", source="maestro", evidence=why))

    async def _commit(self, facts: Sequence[AnyFact], follows: tuple[NewEvent, ...], fence: Fence | None) -> bool:
        subject = f"run:{self._run}"
        own = (NewEvent(subject, facts[0], self.version), *(NewEvent(subject, fact) for fact in facts[1:]))
        actors = (fence.actor,) * len(follows) if fence is not None else ()
        append = Append(own + follows, self._worker.actor, str(self.token), fence=fence, follows=actors)
        result = await self._worker.context.gateway.append(append)
        if not isinstance(result, Committed):
            return False
        self.version = result.last - len(follows)
        self.ended = isinstance(facts[-1], RunEnded)
        return True
