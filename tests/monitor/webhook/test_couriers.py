"""Couriers, handlers, log and receiver together: a real store, real requests; only the daemon is in this process.

What waits is in the log: so each test may kill a courier anywhere and begin with another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from maestro.model import events as e
from maestro.model.errors import NotFound
from maestro.monitor.webhook import courier
from maestro.monitor.webhook.target import targets
from maestro.runtime.monitor.webhooks import undelivered
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from tests.monitor.webhook.receiver import KEYS, Here, Receiver, answers, facts, receiving, until
from tests.monitor.webhook.stories import configured, monitoring, raised, resolved, tell, told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for deliveries all the time."""
    monkeypatch.setattr(courier, "POLL_S", 0.01)


def test_an_alert_comes_to_each_webhook_once_signed_and_with_what_a_person_needs(
    store: Store, receiver: Receiver
) -> None:
    async def story(here: Here) -> None:
        urls = (receiver.url("/a"), receiver.url("/b"))
        async with monitoring(here, *urls):
            await until(lambda: len(facts(store, e.WebhookConfigured)) == 2)
            await tell(here, raised())
            await tell(here, resolved())
            await until(lambda: len(facts(store, e.DeliveryDone)) == 4)
        assert (await undelivered(here.context))["undelivered"] == []

    told(store, story)
    assert sorted(request.path for request in receiver.requests) == ["/a", "/a", "/b", "/b"]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 4
    first, second = (request for request in receiver.requests if request.path == "/a")
    payload = Webhook(KEYS[1]).verify(first.body, first.headers)
    assert payload["type"] == "alert.raised" and payload["timestamp"].endswith("Z")
    assert payload["data"] == {
        "id": "task_failed:t1",
        "namespace": store.namespace,
        "name": "task_failed",
        "subject": "t1",
        "severity": "warning",
        "what": "it failed",
        "why": "exit 1",
        "node": "north",
        "command": "maestro task logs t1",
        "since": "2026-01-01T00:00:00.000Z",
        "state": "raised",
    }
    over = msgspec.json.decode(second.body)
    assert over["type"] == "alert.resolved"
    assert over["data"] == payload["data"] | {"state": "resolved", "how": "acknowledged", "reason": "seen"}


def test_a_receiver_that_hangs_drips_or_refuses_delays_no_other(receiver: Receiver) -> None:
    store = MemoryStore("apart")
    receiver.behaviours |= {"/hangs": receiver.hangs, "/drips": receiver.drips, "/breaks": answers(500)}

    async def story(here: Here) -> None:
        urls = tuple(receiver.url(path) for path in ("/hangs", "/drips", "/breaks", "/fine"))
        async with monitoring(here, *urls):
            await until(lambda: len(facts(store, e.WebhookConfigured)) == 4)
            for number in range(5):
                await tell(here, raised(f"t{number}"))
            await until(lambda: len(facts(store, e.DeliveryDone)) == 5)  # while two of the others still hang
            assert not receiver.released.is_set()

    told(store, story)
    fine = [request for request in receiver.requests if request.path == "/fine"]
    assert [msgspec.json.decode(request.body)["data"]["subject"] for request in fine] == [f"t{n}" for n in range(5)]


def test_a_failure_is_tried_again_with_the_same_id_and_body_whatever_became_of_the_alert(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("again")
    monkeypatch.setattr("maestro.model.monitoring.deliveries.BACKOFF_MS", 50)
    monkeypatch.setattr("maestro.model.monitoring.deliveries.PAUSE_MS", 10)
    receiver.behaviours["/a"] = answers(500)

    async def story(here: Here) -> None:
        async with monitoring(here, receiver.url("/a")):
            await until(lambda: facts(store, e.WebhookConfigured))
            await tell(here, raised())
            await until(lambda: len(facts(store, e.DeliveryAttempted)) >= 2)
            await tell(here, resolved())
            await tell(here, raised(why="another reason"))
            receiver.behaviours["/a"] = answers(200)
            await until(lambda: len(facts(store, e.DeliveryDone)) == 3)

    told(store, story)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    first = [request for request in receiver.requests if request.headers["webhook-id"] == ids[0]]
    assert len(first) >= 3 and len({request.body for request in first}) == 1
    assert list(dict.fromkeys(ids)) == [fact.delivery for fact in facts(store, e.DeliveryQueued)]
    attempts = facts(store, e.DeliveryAttempted)
    assert {(fact.why, fact.status) for fact in attempts} == {("it answered 500", 500)}


def test_what_a_killed_monitor_or_daemon_left_comes_with_the_same_id(receiver: Receiver) -> None:
    """The receiver has taken it, and nobody was there any more to hear that."""
    store = MemoryStore("killed")
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        await configured(here, url)
        await tell(here, raised())

        def away(sock: Any, request: Any) -> None:
            here.away = 10**9
            answers(200)(sock, request)

        receiver.behaviours["/a"] = away
        async with monitoring(here, url):
            await until(lambda: receiver.requests)
            await until(lambda: isinstance(here.asked[-1], p.DeliveryReport))
        assert facts(store, e.DeliveryDone) == []
        here.away = 0
        receiver.behaviours.clear()
        (target,) = targets([url], allow_private=True)
        assert store.work.lease_holder(f"webhook:{target.id}") == "m1"
        store.work.lease_drop(f"webhook:{target.id}", "m1")  # which runs out after a minute
        async with monitoring(here, url, name="m2"):
            await until(lambda: facts(store, e.DeliveryDone))

    told(store, story)
    one, two = receiver.requests
    assert one.headers["webhook-id"] == two.headers["webhook-id"] and one.body == two.body


def test_a_report_that_does_not_get_through_is_made_again(receiver: Receiver) -> None:
    store = MemoryStore("reports")
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        await configured(here, url)
        await tell(here, raised())

        def away(sock: Any, request: Any) -> None:
            here.away = 3
            answers(200)(sock, request)

        receiver.behaviours["/a"] = away
        async with monitoring(here, url):
            await until(lambda: facts(store, e.DeliveryDone))

    told(store, story)
    assert len(receiver.requests) == 1


def test_gone_disables_an_endpoint_until_a_monitor_is_started_for_it(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("gone")
    monkeypatch.setattr(logging.getLogger("maestro"), "propagate", True)
    receiver.behaviours["/T0KEN"] = answers(410)
    url = receiver.url("/T0KEN")

    async def story(here: Here) -> None:
        async with monitoring(here, url):
            await until(lambda: facts(store, e.WebhookConfigured))
            await tell(here, raised())
            await until(lambda: "gets nothing more" in caplog.text)
            await tell(here, resolved())
            asked = len(here.asked)
            await until(lambda: len(here.asked) > asked + 3)
        (endpoint,) = (await undelivered(here.context))["endpoints"]
        assert (endpoint["state"], endpoint["undelivered"]) == ("disabled", 1)
        assert endpoint["why"] == "it answered 410: it wants nothing more"
        answer = await here.ask(p.DeliveryResend("task_failed:t1"))
        assert [row["state"] for row in answer.rows] == ["disabled"]
        assert "is disabled: it gets this once a monitor is started for it" in here.notes[0]
        receiver.behaviours["/T0KEN"] = answers(200)
        async with monitoring(here, url, name="m2"):
            await until(lambda: facts(store, e.DeliveryDone))

    told(store, story)
    assert len(facts(store, e.WebhookDisabled)) == 1
    assert [fact.works for fact in facts(store, e.WebhookConfigured)] == [False, False, True]
    everything = repr(store.log.read(0, 1000)) + caplog.text
    assert not any(secret in everything for secret in ("T0KEN", f":{receiver.port}", "http://"))
    assert "127.0.0.1" not in repr(store.log.read(0, 1000))


def test_without_secrets_alerts_come_unsigned_and_that_is_said_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("unsigned")
    monkeypatch.setattr(logging.getLogger("maestro"), "propagate", True)

    async def story(here: Here) -> None:
        async with monitoring(here, receiver.url("/a"), receiver.url("/b")):
            await until(lambda: len(facts(store, e.WebhookConfigured)) == 2)
            await tell(here, raised())
            await until(lambda: len(facts(store, e.DeliveryDone)) == 2)

    told(store, story, keys=())
    assert all("webhook-signature" not in request.headers for request in receiver.requests)
    assert caplog.text.count("MAESTRO_WEBHOOK_SECRETS is not set") == 1


def test_what_failed_is_listed_and_sent_again_at_once_though_the_receiver_is_left_alone(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore("resend")
    monkeypatch.setattr("maestro.model.monitoring.deliveries.KEEP_TRYING_MS", 0)
    monkeypatch.setattr("maestro.model.monitoring.deliveries.PAUSE_MS", 250_000)
    receiver.behaviours["/a"] = answers(500)
    url = receiver.url("/a")

    async def story(here: Here) -> None:
        async with monitoring(here, url):
            await until(lambda: facts(store, e.WebhookConfigured))
            await tell(here, raised(), "tag")
            await until(lambda: facts(store, e.DeliveryAttempted))
            await tell(here, raised("other"))
            listed = await undelivered(here.context)
            endpoint = targets([url], True)[0].id
            row = listed["undelivered"][0]
            assert (row["delivery"], row["state"], row["why"]) == (f"tag-{endpoint}", "failed", "it answered 500")
            assert listed["undelivered_total"] == 2
            receiver.behaviours["/a"] = answers(200)
            asked = len(here.asked)
            await until(lambda: len(here.asked) > asked + 3)
            assert len(receiver.requests) == 1, "it is left alone"
            answer = await here.ask(p.DeliveryResend("task_failed:t1"))
            assert [(row["delivery"], row["state"]) for row in answer.rows] == [(f"tag-{endpoint}", "waiting")]
            await until(lambda: len(facts(store, e.DeliveryDone)) == 2)
            assert (await here.ask(p.DeliveryResend("task_failed:t1"))).rows == []
            with pytest.raises(NotFound, match="monitor alerts --all"):
                await here.ask(p.DeliveryResend("task_failed:t9"))

    told(store, story)
    assert receiver.requests[0].headers["webhook-id"] == receiver.requests[1].headers["webhook-id"]
