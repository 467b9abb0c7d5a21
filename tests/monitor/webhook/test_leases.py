"""What monitors lease: one of them sends, what is due only, from the log as it is, also after a restore."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio

from maestro.model import events as e
from maestro.model.errors import VerificationFailed
from maestro.model.events import NewEvent
from maestro.monitor.webhook import courier
from maestro.monitor.webhook.target import targets
from maestro.runtime.monitor.webhooks import undelivered
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Append
from maestro.store.memory.memory_store import MemoryStore
from tests.monitor.webhook.receiver import Here, Receiver, facts, receiving, until
from tests.monitor.webhook.stories import configured, monitoring, raised, resolved, tell, told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for deliveries all the time."""
    monkeypatch.setattr(courier, "POLL_S", 0.01)


def test_of_two_monitors_one_sends_and_the_other_takes_over(receiver: Receiver) -> None:
    store = MemoryStore("two")
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        (target,) = targets([url], allow_private=True)
        await configured(here, url)
        await tell(here, raised())
        ask = here.ask
        first = await ask(p.DeliveryTake("m1", [target.id]))
        second = await ask(p.DeliveryTake("m2", [target.id]))
        again = await ask(p.DeliveryTake("m1", [target.id]))
        assert [len(answer.rows) for answer in (first, second, again)] == [1, 0, 1]
        assert first.rows == again.rows
        assert second.data == {target.id: {"disabled": "", "ready": 1, "requested": False}}
        assert store.work.lease_holder(f"webhook:{target.id}") == "m1"
        await ask(p.DeliveryReport("m1", first.rows[0]["delivery"], 1, 200))
        assert (await ask(p.DeliveryReport("m2", first.rows[0]["delivery"], 1, 200))).data["recorded"] is False
        assert (await ask(p.DeliveryTake("m1", [target.id]))).rows == []
        assert store.work.lease_holder(f"webhook:{target.id}") is None

    told(store, story)


def test_an_endpoint_that_no_monitor_sends_to_is_listed_and_keeps_what_waits(receiver: Receiver) -> None:
    store = MemoryStore("unattended")
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        await here.append(NewEvent("webhook:00ff", e.WebhookConfigured("00ff", "south")))
        await configured(here, url)
        await tell(here, raised())
        listed = (await undelivered(here.context))["endpoints"]
        assert [(row["endpoint"] == "00ff", row["state"], row["node"], row["undelivered"]) for row in listed] == [
            (True, "unattended", "south", 1),
            (False, "active", "north", 1),
        ]
        (first,) = (await here.ask(p.DeliveryTake("m1", ["00ff"]))).rows
        await here.ask(p.DeliveryReport("m1", first["delivery"], 1, 0, "no answer"))
        store.work.samples_put({"webhook:00ff": {"monitor": "m1"}}, 1)
        await trio.sleep(0.01)
        assert len((await here.ask(p.DeliveryResend("task_failed:t1"))).rows) == 2
        assert here.notes == ["no monitor that runs sends to webhook 00ff: it gets this once one does"]

    told(store, story)


def test_after_a_restore_deliveries_go_on_from_the_floor(receiver: Receiver) -> None:
    store = MemoryStore("floor")
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        await configured(here, url)
        await tell(here, raised())
        await here.append(NewEvent("restore:r1", e.RestoreDone("r1", 0, "snapshot")))
        async with monitoring(here, url):
            await until(lambda: facts(store, e.DeliveryDone))
            await tell(here, resolved())
            await until(lambda: len(facts(store, e.DeliveryDone)) == 2)

    told(store, story)
    bodies = [msgspec.json.decode(request.body)["data"] for request in receiver.requests]
    assert [(body["state"], body["what"]) for body in bodies] == [("raised", "it failed"), ("resolved", "it failed")]


def test_where_history_is_damaged_the_alert_is_told_as_it_is_now(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("damaged")
    read = store.log.event

    def damaged(seq: int) -> Any:
        raise VerificationFailed("a segment is damaged")

    async def story(here: Here) -> None:
        await configured(here, receiver.url())
        await tell(here, raised())
        monkeypatch.setattr(store.log, "event", damaged)
        async with monitoring(here, receiver.url()):
            await until(lambda: receiver.requests)
        monkeypatch.setattr(store.log, "event", read)

    told(store, story)
    assert msgspec.json.decode(receiver.requests[0].body)["data"]["what"] == "it failed"


def test_what_another_monitor_sent_while_the_lease_was_taken_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("late")
    take = store.work.lease_take

    async def story(here: Here) -> None:
        url = "http://127.0.0.1:1/"
        (target,) = targets([url], allow_private=True)
        await configured(here, url)
        await tell(here, raised(), "1")
        await tell(here, raised("t2"), "2")

        def late(*args: Any) -> bool:
            delivery = f"1-{target.id}"
            event = NewEvent(f"delivery:{delivery}", e.DeliveryDone(delivery, 200))
            store.log.commit([Append((event,), "x", "cmd:2")], None)
            return take(*args)

        monkeypatch.setattr(store.work, "lease_take", late)
        rows = (await here.ask(p.DeliveryTake("m1", [target.id]))).rows
        assert [row["delivery"] for row in rows] == [f"2-{target.id}"]

    told(store, story)
