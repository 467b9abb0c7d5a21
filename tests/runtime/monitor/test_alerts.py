"""Alerts of real nodes: raised once and resolved once, whoever watches, whatever was away meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.runtime.monitor.alert_news import READER
from maestro.store.contract import Append
from tests.conftest import StoreServer
from tests.monitor.webhook.receiver import answers, receiving
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node, StoreServer]]:
    """Two nodes of one namespace, the first of which leads, each with an agent."""
    server = StoreServer("valkey", "--appendfsync", "everysec")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    folder = tmp_path_factory.mktemp("alerts")
    try:
        with Node(folder / "first", **env) as first, Node(folder / "second", **env) as second:
            for node in (first, second):
                node.agent_type("worker")
                node.up()
                name = node.folder.name
                node.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{node.folder}/ws")
            yield first, second, server
    finally:
        server.close()


@contextmanager
def monitor(node: Node, *words: str) -> Iterator[Path]:
    """A monitor of the node; the file with its lines. It must end in order at SIGTERM."""
    lines = node.folder / f"lines-{os.urandom(2).hex()}"
    command = [sys.executable, "-m", "maestro", "monitor", "start", "--interval", "1s", *words]
    with lines.open("wb") as out:
        process = subprocess.Popen(command, env=node.env, stdout=out, stderr=subprocess.PIPE)
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGTERM)
            error = process.communicate(timeout=30)[1]
    assert (process.returncode, error) == (0, b"")


def told(lines: Path, kind: str, **fields: Any) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [row for row in rows if row["kind"] == kind and all(row.get(name) == fields[name] for name in fields)]


def once(node: Node, code: int) -> list[str]:
    done = node.run("monitor", "start", "--once")
    assert done.returncode == code, (done.stdout, done.stderr)
    return [row["id"] for row in json.loads(done.stdout)] if code < 2 else []


def story(node: Node, alert: str) -> list[str]:
    return [event.type for event in node.events() if event.subject == f"alert:{alert}"]


def ended(node: Node, **tasks: str) -> None:
    """Have the log say that these tasks were dispatched, and have ended so."""
    with closing(node.store()) as store:
        for task, status in tasks.items():
            outcome = {"failed": "exit", "completed": "ok", "timed_out": "timeout"}[status]
            events = (
                NewEvent(f"task:{task}", e.TaskDispatched(task, "x", "x", ("a",)), 0),
                NewEvent(f"task:{task}", e.TaskFinished(task, status, outcome)),
            )
            store.log.commit([Append(events, "test", "cmd:test")], None)


def test_two_monitors_on_two_nodes_show_an_alert_that_is_raised_once(pair: tuple[Node, Node, StoreServer]) -> None:
    first, second, _ = pair
    rows = {row["check"]: row for row in json.loads(first.run("doctor").stdout)}
    assert rows["monitor"]["status"] == "warning" and "maestro monitor start" in rows["monitor"]["remedy"]
    with monitor(first) as here, monitor(second) as there:
        for lines in (here, there):
            until(lambda lines=lines: told(lines, "look"))
        rows = {row["check"]: row for row in json.loads(first.run("doctor").stdout)}
        assert rows["monitor"]["status"] == "ok" and rows["monitor"]["detail"].startswith("2 monitors run")
        task = second.dispatch("run: test -e done", "--to", "second", "--sync", code=1)["id"]
        alert = f"task_failed:{task}"
        for lines in (here, there):
            row = until(lambda lines=lines: told(lines, "alert", event="raised", id=alert))[0]
            assert row["command"].startswith(f"maestro task status {task}")
        assert alert in once(second, 1)
        (second.folder / "ws" / "done").touch()
        for command in row["command"].split("# then:"):
            second.json(*command.split("#")[0].split()[1:])
        for lines in (here, there):
            until(lambda lines=lines: told(lines, "alert", event="resolved", id=alert, how="recovered"))
            assert len(told(lines, "alert", id=alert)) == 2
    assert story(first, alert) == ["alert.raised", "alert.resolved"]
    rows = {row["check"]: row for row in json.loads(first.run("doctor").stdout)}
    assert rows["monitor"]["status"] == "warning", rows["monitor"]  # both have ended in order, and count no more


def test_what_is_acknowledged_or_snoozed_wants_attention_no_more(pair: tuple[Node, Node, StoreServer]) -> None:
    first, _, _ = pair
    task = first.dispatch("run: exit 3", "--to", "first", "--sync", code=3)["id"]
    failed = f"task_failed:{task}"
    assert once(first, 1) == [failed]
    done = first.run("monitor", "ack", failed.replace("failed", "faild"))
    assert done.returncode == 3 and failed in done.stderr
    (row,) = first.json("monitor", "ack", failed, "--reason", "known")
    assert (row["how"], row["reason"]) == ("acknowledged", "known")
    assert first.json("monitor", "ack", failed) == [row]
    assert once(first, 0) == []
    shutil.rmtree(first.folder / "ws")
    ill = "agent_unhealthy:first"
    until(lambda: ill in [each["id"] for each in first.json("monitor", "alerts")])
    done = first.run("monitor", "ack", ill)
    assert done.returncode == 4
    silence = done.stderr.strip().rpartition("silence it: ")[2]
    assert first.json(*silence.split()[1:])["snoozed"] is True
    assert once(first, 0) == [ill]
    assert first.json("monitor", "snooze", ill, "--for", "0")["snoozed"] is False
    assert once(first, 1) == [ill]
    first.json("agent", "stop", "first")
    until(lambda: "alert.resolved" in story(first, ill))
    assert once(first, 0) == []
    first.json("agent", "assign", "worker", "--name", "first", "--to-workspace", f"{first.folder}/ws")
    assert story(first, failed) == ["alert.raised", "alert.resolved"]


def test_one_look_sends_what_is_due_once_and_leaves_a_receiver_that_fails_to_the_next(
    pair: tuple[Node, Node, StoreServer],
) -> None:
    first, _, _ = pair
    with receiving() as receiver:
        look = ("monitor", "start", "--once", "--allow-private", "--alert-webhook", receiver.url("/hook"))
        done = first.run(*look, "--alert-webhook", "http://[")
        assert (done.returncode, done.stdout, receiver.requests) == (2, "", [])
        assert first.run(*look).returncode == 0, "from now on it is told"
        receiver.behaviours["/hook"] = answers(500)
        one, two = (first.dispatch("run: exit 3", "--to", "first", "--sync", code=3)["id"] for _ in range(2))
        done = first.run(*look)
        listed = {row["id"] for row in json.loads(done.stdout)}
        assert (done.returncode, listed) == (1, {f"task_failed:{one}", f"task_failed:{two}"})
        assert "it answered 500" in done.stderr and len(receiver.requests) == 1
        receiver.behaviours.clear()
        first.json("monitor", "resend", f"task_failed:{one}")
        assert first.run(*look).returncode == 1
        ids = [request.headers["webhook-id"] for request in receiver.requests]
        assert len(ids) == 3 and len(set(ids)) == 2, "the same id where it is tried again"
        assert first.json("monitor", "alerts", "--undelivered") == []
        first.json("monitor", "ack", *sorted(listed))
        first.run(*look)
        assert len(receiver.requests) == 5
        receiver.behaviours["/hook"] = answers(500)
        first.dispatch("run: exit 3", "--to", "first", "--sync", code=3)
        first.run(*look)
        (row,) = first.json("monitor", "alerts", "--undelivered")
        assert first.run("monitor", "ack", f"webhook:{row['endpoint']}").returncode == 0
        assert first.json("monitor", "alerts", "--undelivered") == []
        assert first.run("monitor", "ack", "webhook:00ff").returncode == 3
        first.json("monitor", "ack", *(row["id"] for row in first.json("monitor", "alerts") if row["momentary"]))
    assert {event.actor.split(":")[0] for event in first.events() if event.type == "webhook.configured"} == {"monitor"}


def test_what_happened_while_nobody_led_is_told_once_and_an_outage_when_it_is_over(tmp_path: Path) -> None:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    try:
        with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
            node.up().kill()
            ended(node, t1="failed", t2="completed", t3="timed_out")
            node.up()
            expected = {"task_failed:t1", "task_timed_out:t3"}
            until(lambda: {row["id"] for row in node.json("monitor", "alerts")} == expected)
            node.kill()
            with redis.Redis(unix_socket_path=str(server.socket)) as raw:
                assert raw.hdel(f"maestro:{{{node.namespace}}}:cursors", READER) == 1
            node.up()
            with monitor(node) as lines:
                assert set(once(node, 1)) == expected
                until(lambda: len(told(lines, "alert", event="open")) == 2)
                server.stop()
                until(lambda: told(lines, "away", what="store"))
                assert once(node, 5) == []
                until(lambda: len(told(lines, "look", store="away")) > 7)
                server.start()
                (row,) = until(lambda: told(lines, "alert", event="raised", name="store"))
                assert "it could not be reached for" in row["why"]
                assert len(told(lines, "away")) == len(told(lines, "back")) == 1
            assert len(node.events("alert.raised")) == 3
            for _ in range(2):  # more than are told one by one, and again when all of these were seen
                ended(node, **{f"m{os.urandom(3).hex()}": "failed" for _ in range(25)})
                until(lambda: "task_failed:+more" in [row["id"] for row in node.json("monitor", "alerts")])
                open_ = [row["id"] for row in node.json("monitor", "alerts") if row["name"] == "task_failed"]
                assert len(open_) == 21
                node.json("monitor", "ack", *open_)
    finally:
        server.close()
