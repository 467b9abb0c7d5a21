"""Orderly restarts of a daemon, as a service manager makes them: no work is lost by them, and none counts as a loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from maestro.model.outcome import LOSSES_MAX
from tests.conftest import StoreServer
from tests.runtime.acting import PATIENCE_S, Node, ended, marked, until


@pytest.fixture
def node(tmp_path: Path, server: StoreServer) -> Iterator[Node]:
    with Node(tmp_path / "node", MAESTRO_REDIS_URL=server.url) as node:
        node.agent_type("shell", mode="script", adapter="shell", stop={"grace_s": 1})  # some take no notice of SIGTERM
        yield node


def running(node: Node, task: str, mark: str, attempt: int) -> list[int]:
    """Wait until the attempt runs; its processes."""
    until(lambda: len(node.task(task)["runs"]) == attempt and node.task(task)["runs"][-1]["status"] == "running")
    return list(until(lambda: marked(mark)))


def of_runs(home: Path) -> list[int]:
    """All processes of its runs."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and f"MAESTRO_RUN_HOME={home}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def restart(node: Node, number: int = signal.SIGTERM) -> None:
    pid = node.pid
    os.kill(pid, number)
    until(lambda: ended(pid))


def long_task(mark: str, go: Path) -> str:
    return f"export MARK={mark}; until test -e {go}; do sleep 0.05; done; echo done at last"


def test_a_long_task_outlives_any_number_of_orderly_restarts(node: Node, tmp_path: Path) -> None:
    mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
    task = str(node.dispatch(long_task(mark, go), "--to", "shell")["id"])
    for attempt in range(1, LOSSES_MAX + 2):
        running(node, task, mark, attempt)
        restart(node)
        assert not marked(mark)
        (held,) = [row for row in node.json("node", "list") if row["status"] == "left"]
        assert held["held"] is True
        node.up()
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    runs = node.task(task)["runs"]
    assert [run["outcome"] for run in runs] == ["lost"] * (LOSSES_MAX + 1) + ["ok"]
    assert all(run["evidence"].startswith("lost (restart): ") for run in runs[:-1])
    assert set(node.ends().values()) == {1}


def test_what_verifies_a_run_is_run_again_too_and_that_counts_for_nothing(node: Node, tmp_path: Path) -> None:
    mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
    task = str(node.dispatch("echo done", "--to", "shell", "--verify", long_task(mark, go))["id"])
    for attempt in (1, 2):
        running(node, task, mark, attempt)
        restart(node)
        node.up()
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    runs = node.task(task)["runs"]
    assert [run["restart"] for run in runs] == [True, True, False]


def test_between_the_signal_and_the_next_start_nothing_is_released(node: Node, tmp_path: Path) -> None:
    mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
    prompt = f"trap '' TERM; {long_task(mark, go)}"
    task = str(node.dispatch(prompt, "--to", "shell")["id"])
    running(node, task, mark, 1)
    restart(node)
    kinds = [event.type for event in node.events()]
    (held,) = [at for at, kind in enumerate(kinds) if kind == "node.held"]
    assert held < kinds.index("run.ended") < kinds.index("node.left")
    assert "run.released" not in kinds[held:]
    go.touch()
    node.up()
    assert node.run("task", "wait", task).returncode == 0


def test_a_killed_daemon_counts_among_orderly_restarts(node: Node, tmp_path: Path) -> None:
    """How many such losses a task bears is a pure rule: `tests/model/scheduling/test_orderly_restarts.py`."""
    mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
    task = str(node.dispatch(long_task(mark, go), "--to", "shell")["id"])
    for attempt, number in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGTERM], 1):
        running(node, task, mark, attempt)
        restart(node, number)
        until(lambda: not marked(mark))
        node.up()
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    assert [run["restart"] for run in node.task(task)["runs"]] == [True, False, True, False]


def test_a_signal_to_all_processes_of_a_service_is_an_orderly_restart_too(node: Node, tmp_path: Path) -> None:
    mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
    task = str(node.dispatch(long_task(mark, go), "--to", "shell")["id"])
    for attempt in (1, 2):
        running(node, task, mark, attempt)
        pid = node.pid
        for each in (pid, *of_runs(node.home)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGTERM)
        until(lambda pid=pid: ended(pid))
        node.up()
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    assert [run["restart"] for run in node.task(task)["runs"]] == [True, True, False]


def unblocked(server: StoreServer) -> int:
    """How often a blocking call was asked to end."""
    with closing(redis.Redis.from_url(server.url)) as client:
        return int(client.info("commandstats").get("cmdstat_client|unblock", {"calls": 0})["calls"])


def test_a_daemon_that_ends_does_not_stand_in_the_way_of_its_own_calls(node: Node, server: StoreServer) -> None:
    """Where it woke them and waited itself, none could end: it asked them to a thousand times, for two seconds."""
    node.up()
    before = unblocked(server)
    node.json("shutdown")
    assert unblocked(server) - before < 100


def test_a_service_ends_its_embedded_store_in_order(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        script = 'export SYSTEMD_EXEC_PID=$$; exec "$0" -m maestro worker'
        daemon = subprocess.Popen(["sh", "-c", script, sys.executable], env=node.env, stderr=subprocess.DEVNULL)
        until((node.home / "daemon.sock").exists)
        node.dispatch("true", "--to", "shell", "--sync")
        store = int((node.home / "store" / "server.pid").read_text())
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
        assert ended(store)
        node.up()
        assert not (node.home / "store" / "incidents").exists()


def test_a_task_that_is_being_cancelled_stays_cancelled_through_a_restart(node: Node, tmp_path: Path) -> None:
    mark = f"restart-{os.urandom(4).hex()}"
    prompt = f"trap '' TERM; {long_task(mark, tmp_path / 'never')}"
    task = str(node.dispatch(prompt, "--to", "shell")["id"])
    running(node, task, mark, 1)
    cancelling = subprocess.Popen([sys.executable, "-m", "maestro", "task", "cancel", task], env=node.env)
    until(lambda: node.events("task.cancel_requested"))
    restart(node)
    node.up()
    assert cancelling.wait(PATIENCE_S) in (0, 5)
    assert node.run("task", "wait", task).returncode == 1
    assert node.task(task)["status"] == "cancelled"


def test_ends_that_the_store_was_away_for_count_for_nothing_either(tmp_path: Path) -> None:
    server = StoreServer("valkey", "--appendfsync", "always")
    try:
        with Node(tmp_path / "node", MAESTRO_REDIS_URL=server.url) as node:
            mark, go = f"restart-{os.urandom(4).hex()}", tmp_path / "go"
            task = str(node.dispatch(long_task(mark, go), "--to", "shell")["id"])
            for attempt in (1, 2):
                running(node, task, mark, attempt)
                pid = node.pid
                server.kill()
                os.kill(pid, signal.SIGTERM)
                until(lambda pid=pid: ended(pid))
                assert not marked(mark)
                server.start()
                node.up()
            go.touch()
            assert node.run("task", "wait", task).returncode == 0
            runs = node.task(task)["runs"]
            assert runs[0]["evidence"].startswith("lost (restart): ")
            assert [run["restart"] for run in runs] == [True, True, False]
    finally:
        server.close()
