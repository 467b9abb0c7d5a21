"""The leader's work on runs of workflows: keeps every open run current, and has each driven when something has changed.

A run is the fold of its own events. Whoever begins to lead reads the open runs from the log, goes on from there, and
forgets them when another daemon leads: nothing is known here that the log does not say.
"""

from __future__ import annotations

from collections import deque

import msgspec
import trio

from maestro.model import events as e
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import Event
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.scheduler.workflows.appends import RunAppends
from maestro.runtime.scheduler.workflows.driver import Driver
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns
from projections.workflow_runs import FACTS

IDLE_S_MAX = 5.0
AWAY_RETRY_S = 0.5
PREFIX = "workflow-run:"


class WorkflowLeader:
    """The leader's part for workflows. `run` is to be run while this daemon holds the lease, and only then."""

    def __init__(self, context: Context, follower: Follower, clock: Clock, appends: RunAppends) -> None:
        self._context = context
        self._follower = follower
        self._clock = clock
        self._wanted: deque[str] = deque()  # runs that began, and are to be taken in
        self._early: deque[Event] = deque()  # events of runs that are not taken in yet
        self._is_stale = False
        self._leads = False
        self.runs = LiveRuns()
        self._driver = Driver(context, follower, clock, self.runs, appends)
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        """Take in an event that concerns runs of workflows. The follower calls it, with the plan as of that event."""
        if not self._leads:
            return
        match event.fact:
            case e.WorkflowRunStarted(run=run):
                self._wanted.append(run)
            case e.RestoreDone():
                self._is_stale = True
            case e.TaskFinished(task=task) | e.RunUsageReported(task=task):
                self._of_task(task)
                return
            case e.NodeJoined(node=node):
                self._driver.ask_again(node)
                return
            case e.NodeLost(node=node):
                self._driver.node_lost(node)
                return
            case fact if isinstance(fact, FACTS):
                self._of_run(event)
                return
            case _:
                return
        self.runs.news.set()

    def _of_run(self, event: Event) -> None:
        live = self.runs.get(event.subject.removeprefix(PREFIX))
        if live is None:
            self._early.append(event)
        else:
            live.take(event)
            self._changed(live)

    def _of_task(self, task: str) -> None:
        row = self._follower.known(task)
        live = self.runs.get(row.workflow) if row is not None else None
        if live is not None and row is not None:
            if not row.open:
                live.ends[row.step] = row
            self._changed(live)

    async def run(self) -> None:
        """Lead: load the open runs, then drive each of them whenever something of it has changed. For ever."""
        self._leads = True
        try:
            while not self._follower.stopped:
                try:
                    self._driver.nursery = None
                    await self._load()
                    async with trio.open_nursery() as nursery:
                        self._driver.nursery = nursery
                        for live in list(self.runs):
                            self._driver.wake(live)
                        await self._follow()
                        nursery.cancel_scope.cancel()
                except StoreAway as error:
                    seldom.warn("runs of workflows", error.line())
                    await trio.sleep(AWAY_RETRY_S)
        finally:
            self._leads = False
            self._driver.nursery = None
            self.runs.clear()
            self._early.clear()
            with trio.CancelScope(shield=True):
                await self._driver.aclose()

    # ---- loading ----

    async def _load(self) -> None:
        """Read all open runs from the log. What happens to them meanwhile is kept, and folded behind that."""
        self.runs.clear()
        self._wanted.clear()
        self._is_stale = False
        page = await self._context.page(self._context.views.workflow_runs, "open", newest=False)
        for header in page.rows:
            await self._take_in(header)
        self._early.clear()

    async def _take_in(self, header: RunHeader) -> LiveRun | None:
        """Read a run, and go on with it; None for one that cannot be read, which is left as it is."""
        try:
            run, _ = await self._context.gateway.ask(read_run, self._context.store, header)
        except StoreAway:
            raise
        except (MaestroError, msgspec.MsgspecError) as error:
            log.error("run %s of workflow %s cannot be read, and waits: %s", header.id, header.workflow, error)
            return None
        live = LiveRun(run, header.seq, header.position)
        for event in self._early:
            if event.subject == PREFIX + live.id:
                live.take(event)
        self.runs.add(live)
        await self._driver.catch_up(live)
        return live

    # ---- following ----

    async def _follow(self) -> None:
        """Take in new runs, and wake those whose time has come; return when all must be loaded anew."""
        while not (self._follower.stopped or self._is_stale):
            self.runs.news = trio.Event()
            while self._wanted and not self._is_stale:
                await self._started(self._wanted[0])
                self._wanted.popleft()
            if not self._wanted:
                self._early.clear()
            with trio.move_on_after(self._until_due()):
                await self.runs.news.wait()
            self._wake_due()

    async def _started(self, run: str) -> None:
        if run in self.runs:
            return
        header = await self._context.row(self._context.views.workflow_run, run)
        live = await self._take_in(header) if header is not None and header.open else None
        if live is not None:
            self._changed(live)

    def _changed(self, live: LiveRun) -> None:
        """Drive a run, and those that what it does concerns: its parents, its children, who waits for its group."""
        for other in self.runs.related(live):
            self._driver.wake(other)

    # ---- time ----

    def _until_due(self) -> float:
        now = self._clock.now()
        times = [live.due for live in self.runs if live.due]
        return IDLE_S_MAX if not times else min(IDLE_S_MAX, max(0.001, (min(times) - now) / 1000))

    def _wake_due(self) -> None:
        now = self._clock.now()
        for live in list(self.runs):
            if live.due and live.due <= now:
                self._driver.wake(live)
