"""The appends of the leader to runs of workflows: under the version of the run and the fence of the leader."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from maestro.model.dispatch import decide_cancel
from maestro.model.errors import MaestroError
from maestro.model.events import NewEvent, WorkflowRunEnding
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns
from maestro.store.contract import AppendResult, Committed

Appender = Callable[[Sequence[NewEvent], str], Awaitable[AppendResult]]
"""Appends events under the leader's fence, with a cause; a task that it dispatches may start with the same append."""


class RunAppends:
    """Appends for runs. append: how the scheduler does it; actor: who appends."""

    def __init__(self, follower: Follower, append: Appender, actor: str) -> None:
        self.actor = actor
        self._follower = follower
        self._append = append

    async def append(self, live: LiveRun, events: Sequence[NewEvent]) -> int:
        """Append events behind the last one of a run that the log is known to have.

        The position of the last one of that run; 0 where the log refused them, as another event came first. The first
        event of the run carries its version; events of other subjects carry their own.
        """
        subject = f"workflow-run:{live.id}"
        first = next((index for index, event in enumerate(events) if event.subject == subject), None)
        told = list(events)
        if first is not None:
            version = max(live.seq, self._follower.plan.floor)  # behind a restore that is what the log wants
            told[first] = msgspec.structs.replace(told[first], expected=version)
        result = await self._append(told, str(live.seq))
        if isinstance(result, Committed):
            await self._follower.changed(result.last - 1)
            last = max(index for index, event in enumerate(events) if event.subject == subject)
            return result.first + last
        log.debug("run %s of a workflow: %s", live.id, result)
        if result.actual > self._follower.seq:
            await self._follower.changed(result.actual - 1)
        return 0

    async def cancel(self, live: LiveRun, runs: LiveRuns, instance: str) -> None:
        """Have what works for an instance end: its task is cancelled, its child run ends."""
        one = live.run.instances[instance]
        child = runs.get(one.child) if one.child else None
        if child is not None:
            if not child.run.ends_as:
                why = f"step {instance} of run {live.id} was cancelled"
                ending = WorkflowRunEnding(child.id, "cancelled", why, stops=True)
                if not await self.append(child, [NewEvent(f"workflow-run:{child.id}", ending)]):
                    live.cancelled.discard(instance)
            return
        row = self._follower.plan.tasks.get(one.task)
        if row is None or row.cancel is not None:
            return
        why = f"workflow run {live.id}: {live.run.why or 'cancelled'}"
        try:
            events = decide_cancel(one.task, row, why, self._follower.plan.floor)
        except MaestroError as error:  # it has ended meanwhile
            log.debug("task %s: %s", one.task, error.line())
            return
        result = await self._append(events, str(live.seq))
        if not isinstance(result, Committed):
            live.cancelled.discard(instance)
