"""A daemon whose store pauses, dies or goes: agents go on, their ends come later, each event is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.conftest import StoreServer
from tests.runtime.acting import Node, ended, until


def test_a_paused_store_delays_ends_and_dispatches_and_loses_none(place: Node, server: StoreServer) -> None:
    tasks = [place.dispatch(f"run: sleep 2; touch {place.folder}/done-{n}", "--to", f"w{n}") for n in (1, 2)]
    until(lambda: all(place.task(str(task["id"]))["status"] == "running" for task in tasks))
    server.signal(signal.SIGSTOP)
    try:
        dispatched = subprocess.Popen(
            [sys.executable, "-m", "maestro", "task", "dispatch", "run: echo late", "--to", "w3", "--sync"],
            env=place.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(lambda: all((place.folder / f"done-{n}").exists() for n in (1, 2)))
        time.sleep(14)  # past the time that a call may take, and that a lease lasts
    finally:
        server.signal(signal.SIGCONT)
    out, error = dispatched.communicate(timeout=60)
    assert dispatched.returncode in (0, 5), (out, error)
    assert place.run("task", "wait", *(str(task["id"]) for task in tasks)).returncode == 0
    assert [[run["outcome"] for run in place.task(str(task["id"]))["runs"]] for task in tasks] == [["ok"], ["ok"]]
    until(lambda: {row["status"] for row in place.json("node", "list")} == {"up"})  # its lease has run out meanwhile
    assert set(place.ends().values()) == {1}


def test_a_store_that_dies_amid_appends_has_each_event_once(place: Node, server: StoreServer) -> None:
    tasks: list[str] = []

    def flood() -> None:
        for _ in range(12):
            done = place.run("task", "dispatch", "run: true", "--to", "w1,w2,w3", "-q")
            tasks.extend(done.stdout.split())

    flooding = threading.Thread(target=flood)
    flooding.start()
    for _ in range(3):
        time.sleep(0.7)
        server.kill()
        time.sleep(0.3)
        server.start()
    flooding.join()
    assert tasks
    assert place.run("task", "wait", *tasks).returncode == 0
    dispatched = [event.subject for event in place.events("task.dispatched")]
    assert len(dispatched) == len(set(dispatched))
    assert {f"task:{task}" for task in tasks} <= set(dispatched)
    assert set(place.ends().values()) == {1}
    assert place.json("replay", "verify")["ok"] is True


def test_a_store_that_is_gone_is_an_error_of_one_line_and_the_daemon_can_still_end(
    tmp_path: Path, server: StoreServer
) -> None:
    other = StoreServer("valkey", "--appendfsync", "always")
    try:
        with Node(tmp_path, MAESTRO_REDIS_URL=other.url) as node:
            row = node.dispatch(f"touch {tmp_path}/on; sleep 600", "--to", "shell")
            until(lambda: (tmp_path / "on").exists())
            pid = node.pid
            other.kill()
            listed = node.run("task", "list")
            assert (listed.returncode, listed.stdout) == (5, "")
            assert len(listed.stderr.splitlines()) == 1
            os.kill(pid, signal.SIGTERM)
            until(lambda: ended(pid))
            other.start()
            node.up()
            until(lambda: [run["outcome"] for run in node.task(str(row["id"]))["runs"]][:1] == ["lost"])
    finally:
        other.close()
