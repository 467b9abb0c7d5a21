"""The watch over alerts of several daemons on one store: who leads tells, once; who only believes so tells nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
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
from projections.bounding import bounds
from projections.view_reader import Views
from replayers import ranges
from replayers.past.forgetting import forget
from replayers.sealed import Segments
from tests.replayers.test_sealing import seal
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


def test_an_alert_of_sealed_history_is_told_again(
    store: Store, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "LARGE", 40)
    monkeypatch.setattr(bounds, "EVERY", 20)
    monkeypatch.setattr("maestro.model.settings.namespace_setting.DEFAULTS", {"views.keep": 0})
    monkeypatch.setattr("maestro.model.settings.namespace_setting.LIMITS", {"views.keep": (0, 9)})
    alert, sealed = "snapshot_failed:north", Segments(tmp_path / "segments", namespace)
    store.attach(sealed)

    def put(*events: NewEvent) -> None:
        store.log.commit([Append(events, "test", "cmd:test")], None)

    async def script(one: Daemon, two: Daemon) -> None:
        one[0].take()
        await one[1].look()
        for number in range(3):
            snapshot = f"s{number}"
            begun = NewEvent(f"snapshot:{snapshot}", e.SnapshotStarted(snapshot, "asked", False, (), "north"))
            put(begun, NewEvent(f"snapshot:{snapshot}", e.SnapshotFailed(snapshot, "no room")))
            await one[2].changed(store.log.head().seq - 1)
            await one[1].look()
            assert raised(store) == [alert] * (number + 1)
            put(NewEvent(f"alert:{alert}", e.AlertResolved(alert, "acknowledged")))
            for count in range(120):
                put(NewEvent("state:a", e.StateSet("a", str(count))))
            Views(store).checkpoint()
            assert seal(store, sealed)
            for count in range(40):
                put(NewEvent("state:a", e.StateSet("a", str(count))))
            assert Views(store).alert(alert).sealed
            if number == 1:
                forget(store)
                assert f"alert:{alert}" not in store.log.versions()

    play(store, tmp_path, script)
