"""The follower of the log: reads every event once, in order, keeps the plan current, and tells its listeners.

Scheduler, worker, monitor and waiting commands of a daemon all hear of an event here.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import Event, RestoreDone, TaskDispatched, TaskFinished, TaskRetried, Unrecognised
from maestro.model.scheduling.plan import Plan
from maestro.model.task import Task
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.plan_loader import load_plan, look_up
from maestro.store.gateway import Gateway
from projections.view_reader import Views

EVENTS_A_READ = 1000
BLOCK_MS = 2000
AWAY_RETRY_S = 0.2
FINISHED_MAX = 1000
DISPATCHED_MAX = 256
"""How many dispatches are kept; each has at most 16 KiB, as a longer prompt is a blob."""
END_S_MAX = 0.2
"""How long it is waited for the end of the log where the views know it as well."""
NEWS_S_MAX = 5.0
"""How long a command waits for news of a task before it looks again: a restore may have taken the task away."""


class Follower:
    """The follower of one daemon: reads the log behind the views' checkpoint and folds it into the plan.

    plan: of all open tasks; to be read only. stopped: why the follower can go no further (an event of a later build),
    or "". finished: the tasks that ended last, so that whoever waits for one need not ask the views. away: whether the
    store could not be reached at the last read.
    """

    def __init__(self, gateway: Gateway, views: Views, timeout_s: float) -> None:
        self.plan = Plan()
        self._timeout_s = timeout_s
        self.stopped = ""
        self.away = False
        self.finished: dict[str, Task] = {}
        self._gateway = gateway
        self._store = gateway.store
        self._views = views
        self._heard = 0  # the last event that the listeners heard; a plan loaded anew may be ahead of it
        self._waiting = trio.lowlevel.ParkingLot()
        self._listeners: list[Callable[[Event], None]] = []
        self._dispatched: dict[str, TaskDispatched] = {}
        self._about: dict[str, trio.lowlevel.ParkingLot] = {}
        self._moved_at = trio.current_time()

    @property
    def still_s(self) -> float:
        """For how many seconds it has not come to its next read; 0 where it can go no further, and says why."""
        return 0.0 if self.stopped else trio.current_time() - self._moved_at

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each event, after the event is in the plan. The listener must not block."""
        self._listeners.append(listener)

    @property
    def seq(self) -> int:
        """The position of the last event that is in the plan."""
        return self.plan.seq

    async def load(self) -> None:
        """Load the plan from the views: cost O(open tasks), not O(history)."""
        self.plan = await self._gateway.call(load_plan, self._views, self._timeout_s)
        self._heard = self._heard or self.plan.seq

    async def run(self) -> None:
        """Follow for ever. Outages of the store are waited out. Raises LineageBroken for a log that is another one."""
        while not self.stopped:
            self._moved_at = trio.current_time()
            try:
                events = await self._gateway.wait(self._store.log.follow, self._heard, EVENTS_A_READ, BLOCK_MS)
                await self._take(events)
                self.away = False
            except StoreAway as error:
                self.away = True
                seldom.warn("following", error.line())
                await trio.sleep(AWAY_RETRY_S)
        self._waiting.unpark_all()

    async def _take(self, events: list[Event]) -> None:
        """Fold the events and tell the listeners, each once, in order. StoreAway: the rest is read again later."""
        for event in events:
            if isinstance(event.fact, Unrecognised):
                self.stopped = f"event {event.seq} is of the unknown type {event.fact.name}: update this node"
                log.error(self.stopped)
                return
            if isinstance(event.fact, RestoreDone):
                await self.load()
                self.finished.clear()
            elif event.seq > self.seq:
                self._apply(event)
            self._heard = event.seq
            for listener in self._listeners:
                listener(event)
        if self.plan.missing:
            await self._supply()
        elif not events:
            return
        self._waiting.unpark_all()

    async def _supply(self) -> None:
        """Give the plan the rows that it lacks, and those that these name: what was queued again may depend on others.

        They are looked up in a thread, and put into the plan here: nobody else may be reading it then.
        """
        asked: set[str] = set()
        while missing := [task for task in self.plan.missing if task not in asked]:
            asked.update(missing)
            for rows, as_of in await self._gateway.call(look_up, missing, self._views):
                self.plan.supply(rows, as_of)

    def _apply(self, event: Event) -> None:
        fact = event.fact
        row = self.plan.tasks.get(fact.task) if isinstance(fact, TaskFinished) else None
        self.plan.apply(event)
        if isinstance(fact, TaskDispatched):
            self._dispatched[fact.task] = fact
            if len(self._dispatched) > DISPATCHED_MAX:
                del self._dispatched[next(iter(self._dispatched))]
        self._tell(getattr(fact, "task", ""))
        if isinstance(fact, TaskRetried):
            self.finished.pop(fact.task, None)
        if row is not None:
            self.finished[row.id] = row
            if len(self.finished) > FINISHED_MAX:
                del self.finished[next(iter(self.finished))]

    def _tell(self, task: str) -> None:
        lot = self._about.pop(task, None)
        if lot is not None:
            lot.unpark_all()

    def dispatched(self, task: str) -> TaskDispatched | None:
        """The event that dispatched a task, with its prompt, which is not in the plan; None where that was long ago."""
        return self._dispatched.get(task)

    def known(self, task: str) -> Task | None:
        """The task, where it is open or one of those that ended last; None where the views are to be asked."""
        return self.plan.tasks.get(task) or self.finished.get(task)

    async def news(self, task: str) -> None:
        """Return after the next event of an open task, or after NEWS_S_MAX; at once where the task is not open here."""
        if task in self.plan.tasks and not self.stopped:
            with trio.move_on_after(NEWS_S_MAX):
                await self._about.setdefault(task, trio.lowlevel.ParkingLot()).park()

    async def news_within(self, seconds: float, after: int) -> None:
        """Return when event `after` + 1 is in the plan, or after so many seconds, for what also looks now and then."""
        with trio.move_on_after(seconds):
            while self.seq <= after:
                await self._waiting.park()

    async def agents(self) -> list[Agent] | None:
        """All agents at the end of the log, oldest assignment first; None where the plan is not there soon, or is of
        another log than the store has.
        """
        seen, head = self.seq, await self._gateway.ask(self._store.log.head)
        await self.news_within(END_S_MAX, head.seq - 1)
        if self.stopped or not seen <= head.seq <= self.seq:
            return None
        rows = [copy(agent) for agent in self.plan.agents.values()]  # the plan changes its rows in place
        return sorted(rows, key=lambda agent: (agent.assigned_at, agent.id.encode()))

    async def changed(self, after: int) -> None:
        """Return when event `after` + 1 is in the plan. Raises MaestroError where the follower can go no further."""
        while self.seq <= after:
            if self.stopped:
                raise MaestroError(self.stopped)
            await self._waiting.park()
