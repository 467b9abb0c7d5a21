"""A duty of the leader: done when it begins to lead, and after news; by nobody else; and again after an outage."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from maestro.model import events as e
from maestro.model.errors import StoreAway
from maestro.model.events import Event
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.duty import Duty
from maestro.runtime.scheduler.lead import Lead
from maestro.store.contract import Fence
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Views

HOUR_S = 3600.0


def test_a_duty_is_done_by_the_leader_when_it_begins_and_after_its_news_only() -> None:
    store = MemoryStore("t")
    steps: list[str] = []
    leads = False
    begins: list[Callable[[], None]] = []

    async def play() -> None:
        nonlocal leads
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            follower = Follower(gateway, Views(store), 60)
            taken, take = trio.open_memory_channel[None](9)
            doing = "nothing"

            async def step() -> float:
                steps.append(doing)
                taken.send_nowait(None)
                if doing == "fails":
                    raise StoreAway("away")
                return HOUR_S

            def hear(fact: e.AnyFact) -> None:
                duty._hear(Event(1, "s", 1, "", "", 0, fact))

            lead = Lead(lambda: leads, Fence("l", "x"), lambda: 0, begins.append)
            duty = Duty("a duty", follower, lead, (e.NodeLeft, e.NodeLost), step)
            nursery.start_soon(duty.run)
            hear(e.NodeLost("n"))
            await trio.testing.wait_all_tasks_blocked()
            leads, doing = True, "begins"
            begins[0]()
            await take.receive()
            await trio.testing.wait_all_tasks_blocked()
            hear(e.NodeDrainBegun("n"))
            await trio.testing.wait_all_tasks_blocked()
            doing = "fails"
            hear(e.NodeLeft("n", "stopped"))
            await take.receive()
            await trio.testing.wait_all_tasks_blocked()
            doing = "again"
            hear(e.NodeLost("n"))
            await take.receive()
            nursery.cancel_scope.cancel()

    trio.run(play)
    assert steps == ["begins", "fails", "again"]
