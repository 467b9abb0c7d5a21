"""A store with one free agent, daemons on it that fire and carry out, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from maestro import config
from maestro.config import Settings
from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.monitor.firings import Firings
from maestro.runtime.monitor.timetable import Timetable
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.protocol import messages as p
from maestro.runtime.scheduler.lead import Lead
from maestro.runtime.scheduler.merged_appends import LEASE
from maestro.store.contract import Append, Committed, Fence, Store
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import Clock

HOUR, DAY = 3_600_000, 86_400_000


class SetClock(Clock):
    """A server's clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1_780_000_000_000 // DAY * DAY + 11 * HOUR + 30_000

    def now(self) -> int:
        return self.at


class Daemon:
    """The parts of one daemon that fire and carry out, on a store; each step is taken when the test says so."""

    def __init__(self, context: Context, name: str, now: Callable[[], int]) -> None:
        self.context = context
        self.leads = True
        follower = Follower(context.gateway, context.views, 60)
        lead = Lead(lambda: self.leads, Fence(LEASE, name), now)
        self.timetable = Timetable(context, follower, lead)
        self.firings = Firings(context, follower, lead)

    def take_lease(self) -> bool:
        return self.context.store.work.lease_take(LEASE, self.timetable._lead.fence.holder, 100 * DAY)

    async def fire(self) -> float:
        return await self.timetable.fire()

    async def carry_out(self) -> None:
        async with trio.open_nursery() as nursery:
            await self.firings.begin(nursery)

    async def ask(self, command: p.Command) -> p.Done:
        async def send(_: object) -> None:
            return

        return await HANDLERS[type(command)](Call(self.context, p.Caller("cli:ann", "/"), send), command)

    async def add(self, name: str, cron: str, missed: str = "once", prompt: str = "do it") -> p.Done:
        command: dict[str, Any] = {"kind": "task dispatch", "prompt": prompt, "to": ["w1"]}
        words = ["task", "dispatch", prompt[:20], "--to", "w1"]
        return await self.ask(p.ScheduleAdd(name, cron, words, command, "UTC", missed))

    async def list(self) -> dict[str, Any]:
        rows: list[Any] = []

        async def send(frame: Any) -> None:
            rows.append(frame.data)

        await HANDLERS[p.ScheduleList](Call(self.context, p.Caller("cli:ann", "/"), send), p.ScheduleList())
        return {row["id"]: row for row in rows}


class Place:
    """A store with one free agent, and daemons on it."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], int]) -> None:
        self.store, self.settings, self.now = store, settings, now
        self.append(
            NewEvent("node:far", e.NodeJoined("far", "far", "far.1", 1, 4, "test")),
            NewEvent("agent:w1", e.AgentAssigned("w1", "code", {}, "/r", "/w/w1", node="far")),
        )

    def append(self, *events: NewEvent, floors: bool = False) -> Committed:
        (done,) = self.store.log.commit([Append(events, "test", "cmd:test", floors=floors)], None)
        assert isinstance(done, Committed), done
        return done

    def events(self, *facts: type) -> list[Event]:
        found = self.store.log.read(0, 10_000)
        return [event for event in found if not facts or isinstance(event.fact, facts)]

    def play(self, script: Callable[..., Awaitable[None]], *names: str) -> None:
        """Run a script with one daemon for each name, the first of which has the lease."""

        async def go() -> None:
            async with Gateway(self.store) as gateway:
                daemons = []
                for name in names or ("one",):
                    context = Context(self.settings, name, self.store, gateway)
                    context.handlers = HANDLERS
                    daemons.append(Daemon(context, f"{name}:1", self.now))
                daemons[0].take_lease()
                await script(*daemons)

        trio.run(go)


def settings_in(folder: Path) -> Settings:
    return config.load({"MAESTRO_HOME": str(folder / "home"), "HOME": str(folder), "PATH": ""})
