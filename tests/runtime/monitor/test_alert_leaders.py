"""The watch over alerts of several daemons on one store: who leads tells, once; who only believes so tells nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import trio

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.runtime.monitor.alert_news import READER
from maestro.runtime.monitor.alert_watch import AlertWatch
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.merged_appends import LEASE
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.scheduler.workflows.live_run import LiveRuns
from maestro.store.contract import Append, AppendResult, Fence, Store
from maestro.store.gateway import Gateway
from tests.runtime.monitor.scheduled_place import settings_in


class Lead:
    """What the watch needs of a scheduler. leading: what this daemon believes; the log knows who holds the lease."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self.leading = True
        self.open_runs = LiveRuns()
        self.fence = Fence(LEASE, name)
        self._gateway = gateway

    async def append(self, events: Sequence[NewEvent], cause: str) -> AppendResult:
        return await self._gateway.append(Append(tuple(events), self.fence.actor, cause, fence=self.fence))

    def take(self) -> None:
        work = self._gateway.store.work
        holder = work.lease_holder(LEASE)
        if holder is not None:
            work.lease_drop(LEASE, holder)
        assert work.lease_take(LEASE, self.fence.holder, 100_000_000)


Daemon = tuple[Lead, AlertWatch, Follower]


def play(store: Store, folder: Path, script: Callable[[Daemon, Daemon], Awaitable[None]]) -> None:
    async def go() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            daemons: list[Daemon] = []
            for name in ("one", "two"):
                context = Context(settings_in(folder), name, store, gateway)
                follower = Follower(gateway, context.views, 60)
                await follower.load()
                nursery.start_soon(follower.run)
                lead, clock = Lead(gateway, f"{name}:1"), Clock()
                clock.measure(store.now)
                daemons.append((lead, AlertWatch(context, follower, cast(Scheduler, lead), clock), follower))
            await script(daemons[0], daemons[1])
            nursery.cancel_scope.cancel()

    trio.run(go)


async def fails(store: Store, daemons: Sequence[Daemon], task: str) -> None:
    events = (
        NewEvent(f"task:{task}", e.TaskDispatched(task, "x", "x", ("a",)), 0),
        NewEvent(f"task:{task}", e.TaskFinished(task, "failed", "exit")),
    )
    store.log.commit([Append(events, "test", "cmd:test")], None)
    for _, _, follower in daemons:
        await follower.changed(store.log.head().seq - 1)


def raised(store: Store) -> list[str]:
    return [event.fact.alert for event in store.log.read(0, 1000) if isinstance(event.fact, e.AlertRaised)]


def test_what_a_leader_of_before_cannot_tell_any_more_the_next_one_tells(store: Store, tmp_path: Path) -> None:
    async def script(one: Daemon, two: Daemon) -> None:
        one[0].take()
        await one[1].look()
        await fails(store, (one, two), "a")
        await one[1].look()
        assert raised(store) == ["task_failed:a"]
        taken = store.log.cursor_get(READER)
        two[0].take()  # the first one has not noticed yet
        await fails(store, (one, two), "b")
        for _ in range(2):
            await one[1].look()
            assert raised(store) == ["task_failed:a"] and store.log.cursor_get(READER) == taken
        await two[1].look()
        assert raised(store) == ["task_failed:a", "task_failed:b"]
        await one[1].look()
        one[0].take()
        for _ in range(2):
            await one[1].look()
            await two[1].look()
        assert raised(store) == ["task_failed:a", "task_failed:b"]

    play(store, tmp_path, script)


def test_who_begins_to_lead_takes_in_what_came_while_it_did_not(store: Store, tmp_path: Path) -> None:
    async def script(one: Daemon, two: Daemon) -> None:
        one[0].leading = False
        two[0].take()
        for task in ("a", "b"):
            await fails(store, (one, two), task)
        await one[1].look()
        assert raised(store) == []
        await two[1].look()
        await fails(store, (one, two), "c")
        one[0].take()
        one[0].leading, two[0].leading = True, False
        for _ in range(2):
            await one[1].look()
            await two[1].look()
        assert raised(store) == ["task_failed:a", "task_failed:b", "task_failed:c"]

    play(store, tmp_path, script)
