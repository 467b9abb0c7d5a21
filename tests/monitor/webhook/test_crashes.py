"""A monitor and a daemon that are killed: what a receiver had, and could not confirm, comes to it again as it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from maestro.model.errors import StoreAway
from maestro.monitor.webhook.target import targets
from maestro.store.redis.redis_store import open_redis
from tests.monitor.webhook.receiver import Receiver, Request, answers, receiving
from tests.runtime.acting import Node, until
from tests.test_webhook_secrets import SECRETS


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def monitor(node: Node, url: str) -> subprocess.Popen[str]:
    """A monitor as a service."""
    words = ("monitor", "start", "--interval", "1s", "--alert-webhook", url, "--allow-private")
    return subprocess.Popen(
        [sys.executable, "-m", "maestro", *words],
        env={**node.env, "MAESTRO_WEBHOOK_SECRETS": SECRETS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def gave_up_the_lease(node: Node, url: str) -> bool:
    (target,) = targets([url], allow_private=True)
    lease = f"webhook:{target.id}"
    with closing(open_redis(node.url, node.namespace)) as store, suppress(StoreAway):
        holder = store.work.lease_holder(lease)
        if holder is not None:
            store.work.lease_drop(lease, holder)
            return True
    return False


def webhook_events(node: Node) -> list[str]:
    events = [json.loads(line) for line in node.run("events", "export").stdout.splitlines()]
    return [event["type"] for event in events if event["type"].startswith("webhook.")]


def test_an_alert_survives_the_death_of_daemon_and_monitor_at_the_worst_moment(
    tmp_path: Path, receiver: Receiver
) -> None:
    url = receiver.url("/T0KEN")
    had, go = threading.Event(), threading.Event()

    def holds(sock: Any, request: Request) -> None:
        had.set()
        go.wait(60)
        answers(200)(sock, request)

    receiver.behaviours["/T0KEN"] = holds
    with Node(tmp_path) as node:
        node.agent_type("worker", adapter="shell", mode="script")
        node.json("agent", "assign", "worker", "--name", "w", "--to-workspace", f"{tmp_path}/w")
        first = monitor(node, url)
        until(lambda: "webhook.configured" in webhook_events(node))
        assert node.run("task", "dispatch", "exit 3", "--to", "w", "--sync").returncode == 3
        assert had.wait(60)
        node.kill()
        first.send_signal(signal.SIGKILL)
        go.set()
        receiver.behaviours.clear()
        told = first.communicate()[1]
        second = monitor(node, url)  # which starts the daemon, too
        until(lambda: gave_up_the_lease(node, url))  # of the first one, which would run out
        until(lambda: "webhook.delivered" in webhook_events(node), 120)
        second.send_signal(signal.SIGTERM)
        told += second.communicate()[1]
        assert second.returncode == 0
        exported = node.run("events", "export").stdout
    events = [json.loads(line) for line in exported.splitlines()]
    own = {event["actor"] for event in events if event["type"] in ("webhook.configured", "webhook.delivered")}
    assert len(own) == 1 and own.pop().startswith("monitor:")
    one, two = receiver.requests
    assert one.headers["webhook-id"] == two.headers["webhook-id"] and one.body == two.body
    for secret in SECRETS.split(", "):
        assert Webhook(secret).verify(two.body, two.headers)["data"]["name"] == "task_failed"
    assert not any(secret in told + exported for secret in ("T0KEN", "whsec", *SECRETS.split("whsec_")[1:]))
