"""The timetable: the daemon that leads fires what is due. `model/schedules/recurring.py` decides.

Nothing of it is remembered but in the log: a leader that died between two steps is followed by one that reads the same
rows and takes the next step, and of two that believe they lead the fence lets one append.
"""

from __future__ import annotations

import trio

from maestro.model import events as e
from maestro.model.schedules.recurring import Came, decide_due
from maestro.model.schedules.schedule import Firing
from maestro.runtime.monitor.schedules import Scheduled, Schedules, ahead, busy, come
from maestro.runtime.node.context import APPEND_S_MAX, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.duty import AWAY_S, IDLE_S_MAX, Duty
from maestro.runtime.scheduler.lead import Lead
from maestro.store.contract import Append, Committed

NEWS = (
    *(e.ScheduleAdded, e.ScheduleRemoved, e.ScheduleSwitched, e.ScheduleFired, e.ScheduleSkipped),
    *(e.WorkflowStored, e.WorkflowDeleted, e.WorkflowSwitched, e.RestoreDone),
)


class Timetable:
    """The timetable of one daemon, which acts while it leads."""

    def __init__(self, context: Context, follower: Follower, lead: Lead) -> None:
        self._context = context
        self._lead = lead
        self._schedules = Schedules(context)
        self._duty = Duty("schedules", follower, lead, NEWS, self.fire)

    async def run(self) -> None:
        """Fire what is due, for ever; an outage of the store is waited out."""
        await self._duty.run()

    async def fire(self) -> float:
        """Decide on all due times that have come; in how many seconds the next one comes."""
        context = self._context
        enabled = [one for one in await self._schedules.all() if one.enabled]
        if not enabled:
            return IDLE_S_MAX
        firings = {row.schedule: row for row in await context.rows(context.views.firings)}
        now = self._lead.now()
        came, next_at = await trio.to_thread.run_sync(_reckon, enabled, firings, now)
        for scheduled, due in came:
            if not await self._decide(scheduled, due, firings.get(scheduled.id), now):
                return AWAY_S  # another leads, or a user was faster: what is true then is read anew
        wait_s = IDLE_S_MAX if next_at is None else (next_at - self._lead.now()) / 1000
        return max(0.001, wait_s)

    async def _decide(self, scheduled: Scheduled, due: Came, firing: Firing | None, now: int) -> bool:
        """Append what becomes of due times; whether the log took it."""
        why = await busy(self._context, scheduled, firing)
        event = decide_due(scheduled.recurring, due, firing, why, now, await self._context.floor())
        fence = self._lead.fence
        append = Append((event,), fence.actor, str(scheduled.version), (), fence)
        result = await self._context.gateway.append(append, APPEND_S_MAX)
        if not isinstance(result, Committed):
            log.debug("schedule %s: %s", scheduled.id, result)
            return False
        if isinstance(event.fact, e.ScheduleSkipped):
            log.warning("schedule %s: %d due times left out: %s", scheduled.id, event.fact.missed, event.fact.why)
        return True


def _reckon(
    enabled: list[Scheduled], firings: dict[str, Firing], now: int
) -> tuple[list[tuple[Scheduled, Came]], int | None]:
    """What has come of each, and when the next one of all comes. In a thread, as it takes long after a long absence."""
    came, following = [], []
    for scheduled in enabled:
        firing = firings.get(scheduled.id)
        next_at = ahead(scheduled.recurring, firing, now)
        if next_at is None:
            continue  # it was told why, or it is over
        following.append(next_at)
        if due := come(scheduled.recurring, firing, now):
            came.append((scheduled, due))
    return came, min(following, default=None)
