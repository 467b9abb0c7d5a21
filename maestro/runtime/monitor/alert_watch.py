"""The watch of the leader over alerts: looks at the world every few seconds, and appends what the rules decide of it.

`maestro/model/monitoring/` decides; this module gives it rows and the time. Every alert is an append of its own, under
the fence of the lease and at the version of the alert: what another has appended first is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from maestro.model import events as e
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import AlertRaised, AlertResolved, Event, NewEvent
from maestro.model.monitoring.alert import Alert
from maestro.model.monitoring.alert_conditions import conditions
from maestro.model.monitoring.alert_decisions import (
    Batch,
    Steadiness,
    appends,
    awoken,
    calmed,
    changed,
    expired,
    lasting,
    limited,
    new_ones,
)
from maestro.model.monitoring.alert_moments import OF_TASKS, Ended, Rows, ended_unseen
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.monitor.alert_news import AlertNews
from maestro.runtime.monitor.alert_telling import with_deliveries
from maestro.runtime.monitor.alert_world import AlertWorld
from maestro.runtime.monitor.steady_rows import SteadyRows
from maestro.runtime.monitor.store_outage import StoreOutage
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.store.contract import Committed

EVERY_S = 5.0
RESUMED_MAX = 20


class AlertWatch:
    """The watch of one daemon: acts only while that leads."""

    def __init__(self, context: Context, follower: Follower, scheduler: Scheduler, clock: Clock) -> None:
        self._context = context
        self._follower = follower
        self._scheduler = scheduler
        self._clock = clock
        self._news = AlertNews(context, follower)
        self._views = SteadyRows(context, follower)
        self._world = AlertWorld(context, follower, scheduler)
        self._outage = StoreOutage(context.gateway, follower, clock)
        self._steadiness = Steadiness()
        self._turn = trio.Lock()
        self._leads = False
        self._begins = trio.Event()

    async def run(self) -> None:
        """Look every few seconds while this daemon leads, for ever; an outage of the store is waited out."""
        self._scheduler.when_leading(lambda: self._begins.set())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outage.run)
            while not self._follower.stopped:
                self._begins = trio.Event()
                is_more = await self.look()
                with trio.move_on_after(0 if is_more else EVERY_S):
                    await self._begins.wait()
            nursery.cancel_scope.cancel()

    async def look(self) -> bool:
        """Look once, if this daemon leads; whether there is more to take in at once."""
        async with self._turn:
            try:
                if not self._scheduler.leading:
                    self._news.end()
                    self._leads = False
                    return False
                if not self._leads:
                    await self._begin()
                return await self._look()
            except StoreAway as error:
                seldom.warn("alerts", error.line())
            except MaestroError as error:  # such as a view that is being built anew: looked at again
                seldom.warn("alerts", error.line())
        return False

    async def _begin(self) -> None:
        await self._news.begin(self._clock.now())
        self._steadiness = Steadiness()
        self._leads = True

    async def _look(self) -> bool:
        context, now = self._context, self._clock.now()
        self._outage.look()
        rows = {row.id: row for row in await self._views.rows(context.views.alerts)}
        batch = Batch(rows, now)
        taken = await self._news.take()
        known = await self._rows_of(taken)
        for event in taken:
            batch.take(event, known)
        moments, ended = batch.settle(await self._known(batch.told, rows))
        moments = limited(moments, rows)
        ended += expired(rows.values(), now)
        if self._news.has_restored and not self._news.is_more:
            self._news.has_restored = False
            ended += await self._ended_unseen(rows)
        told = await self._known((one.alert for one in moments), rows)
        if not await self._append(appends(moments, ended, told, self._floor), told):
            return False  # the same events are looked at again, by whoever leads then
        await self._news.keep()
        if not self._news.is_more:
            await self._look_at_what_lasts(now)
        return self._news.is_more

    async def _look_at_what_lasts(self, now: int) -> None:
        context, steadiness = self._context, self._steadiness
        rows = {row.id: row for row in await self._views.rows(context.views.alerts)}
        world = await self._world.look(now, self._outage.last)
        found = lasting(conditions(world), rows)
        steadiness.look(found, rows.values(), now)
        new = new_ones(found, rows, steadiness, now)
        anew = changed(found, rows, steadiness, now)
        ended = [Ended(one.alert, "gone", "it is so for another reason by now") for one in anew]
        known = await self._known((one.alert for one in new), rows)
        decided = appends([*new, *anew], [*calmed(found, world, rows, steadiness), *ended], known, self._floor)
        await self._append([*decided, *awoken(rows.values(), now, self._floor)], known)

    @property
    def _floor(self) -> int:
        return self._follower.plan.floor

    async def _known(self, wanted: Iterable[str], rows: dict[str, Alert]) -> dict[str, Alert]:
        """The open alerts, and those of the wanted ones that were ever raised.

        What an alert of sealed history was is known, and its version may be forgotten: the log has the one that counts.
        """
        context, known = self._context, dict(rows)
        for alert in wanted:
            if alert in known:
                continue
            found = await context.call(context.views.alert, alert)
            if found.row is not None:
                if found.sealed:
                    found.row.version = await context.call(context.store.log.version, f"alert:{alert}")
                known[alert] = found.row
        return known

    async def _append(self, decided: Sequence[list[NewEvent]], known: dict[str, Alert]) -> bool:
        """Append what was decided; whether the log took all of it. known: the alerts as they were for the decision."""
        is_whole = True
        for events in decided:
            row = known.get(events[0].subject.removeprefix("alert:"))
            whole = await with_deliveries(self._context, events, row, self._clock.now())
            result = await self._scheduler.append(whole, f"alerts:{self._follower.seq}")
            self._log(events, isinstance(result, Committed))
            if isinstance(result, Committed):
                await self._follower.changed(result.last - 1)
            else:
                is_whole = False
                self._leads = self._leads and result.reason != "fence"
        return is_whole

    def _log(self, events: Sequence[NewEvent], is_done: bool) -> None:
        for event in events:
            match event.fact:
                case AlertRaised(alert=alert, what=what) if is_done:
                    log.warning("alert %s: %s", alert, what)
                case AlertResolved(alert=alert, how=how) if is_done:
                    log.info("alert %s is over: %s", alert, how)
                case _:
                    log.debug("alert %s: another was first", event.subject)

    # ---- what is known of the subjects of events ----

    async def _rows_of(self, taken: Sequence[Event]) -> Rows:
        """The rows that these events are about, where the rules ask for them."""
        runs: dict[str, RunHeader] = {}
        node_of: dict[str, str] = {}
        bad: dict[str, None] = {}
        views, context = self._context.views, self._context
        for event in taken:
            match event.fact:
                case e.TaskFinished(task=task, status="failed" | "timed_out"):
                    bad[task] = None
                case e.WorkflowRunFinished(run=run):
                    await self._take_run(run, runs)
                case e.SnapshotFailed(snapshot=snapshot):
                    found = await context.row(views.snapshot, snapshot)
                    node_of[snapshot] = found.node if found is not None else ""
        return Rows(await self._tasks(bad), runs, node_of)

    async def _tasks(self, named: Iterable[str]) -> dict[str, Task]:
        names = list(named)
        return (
            {row.id: row for row in await self._context.rows(self._context.views.tasks_named, names)} if names else {}
        )

    async def _take_run(self, run: str, runs: dict[str, RunHeader]) -> None:
        """Take in a run, with those that it was resumed from."""
        for _ in range(RESUMED_MAX):
            if not run or run in runs:
                return
            header = await self._context.row(self._context.views.workflow_run, run)
            if header is None:
                return
            runs[run] = header
            run = header.resumed_from

    async def _ended_unseen(self, rows: dict[str, Alert]) -> list[Ended]:
        """What of the open alerts is over though no event says so: a restore has taken it back."""
        open_ = [(row.name, row.subject) for row in rows.values() if row.momentary and not row.subject.startswith("+")]
        subjects = {subject: None for name, subject in open_ if name in OF_TASKS}
        tasks = await self._tasks(subjects)
        runs: dict[str, RunHeader] = {}
        for subject in subjects.keys() - tasks.keys():
            await self._take_run(subject, runs)
        return list(ended_unseen(open_, Rows(tasks, runs, {})))
