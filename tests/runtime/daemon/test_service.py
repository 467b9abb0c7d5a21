"""A daemon as a service: what it tells its manager, and how it ends, however often and by whomever it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from maestro.model.outcome import RESTART
from maestro.runtime.daemon import service_notices
from maestro.runtime.daemon.service_notices import ServiceNotices
from tests.runtime.acting import PATIENCE_S, Node, ended, marked, until


class Listener:
    """A service manager: the socket that services tell things to. told: what they told, line by line, in order."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ms")
        self.path = f"{self._folder.name}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        with suppress(BlockingIOError):
            while True:
                self._told += self._socket.recv(65536).decode().splitlines()
        return self._told

    def close(self) -> None:
        self._socket.close()
        self._folder.cleanup()


@pytest.fixture
def manager() -> Iterator[Listener]:
    manager = Listener()
    yield manager
    manager.close()


@contextmanager
def service(node: Node, manager: Listener, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon of a node as a child that is a service, as systemd starts it."""
    node.agent_type("shell", mode="script", adapter="shell", stop={"grace_s": 1})
    script = 'export SYSTEMD_EXEC_PID=$$ WATCHDOG_PID=$$; exec "$0" -m maestro worker'
    env = {**node.env, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "600000", **env}
    daemon = subprocess.Popen(["sh", "-c", script, sys.executable], env=env, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "READY=1" in manager.told or daemon.poll() is not None)
        assert daemon.poll() is None
        yield daemon
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(PATIENCE_S)


def task_until(node: Node, go: Path, mark: str, before: str = "") -> str:
    """A task that waits for a file, and runs by now."""
    script = f"{before}export MARK={mark}; until test -e {go}; do sleep 0.05; done; env"
    task = str(node.dispatch(script, "--to", "shell")["id"])
    until(lambda: marked(mark))
    until(lambda: node.task(task)["runs"][-1]["status"] == "running")
    return task


def test_it_tells_its_manager_that_it_is_up_goes_on_and_ends(tmp_path: Path, manager: Listener) -> None:
    mark, go = f"service-{os.urandom(4).hex()}", tmp_path / "go"
    with Node(tmp_path / "node") as node, service(node, manager) as daemon:
        task = task_until(node, go, mark)
        until(lambda: any("1 runs on, 1 tasks open" in line for line in manager.told))
        pings = manager.told.count("WATCHDOG=1")
        until(lambda: manager.told.count("WATCHDOG=1") > pings + 1)
        daemon.send_signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
        told = len(manager.told)
        time.sleep(0.7)  # more than three times as long as between two pings
        assert len(manager.told) == told
        daemon.send_signal(signal.SIGCONT)
        until(lambda: "WATCHDOG=1" in manager.told[told:])
        go.touch()
        assert node.run("task", "wait", task).returncode == 0
        seen = node.run("task", "logs", task).stdout
        assert "MAESTRO_RUN_ID=" in seen and not any(name in seen for name in service_notices.VARIABLES)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
        assert "STOPPING=1" in manager.told


def test_a_follower_that_stands_still_is_told_by_silence(manager: Listener) -> None:
    still, environment = [0.0], {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "30000", "HOME": "/"}
    told = ServiceNotices(environment)
    assert environment == {"HOME": "/"}
    assert told.hand_on() == {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "30000"}

    async def watched() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.keep, lambda: "well\nenough", lambda: still[0])
            while manager.told.count("WATCHDOG=1") < 2:
                await trio.sleep(0.01)
            still[0] = service_notices.STILL_S_MAX
            await trio.sleep(0.1)
            before = manager.told.count("WATCHDOG=1")
            await trio.sleep(0.2)
            assert manager.told.count("WATCHDOG=1") == before
            nursery.cancel_scope.cancel()

    trio.run(watched)
    assert manager.told.count("STATUS=well enough") == 1
    assert not [line for line in manager.told if line not in ("WATCHDOG=1", "STATUS=well enough")]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "@maestro-nobody-listens"},
        {"NOTIFY_SOCKET": "/" + 200 * "x"},
        {"WATCHDOG_USEC": "no number"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_manager_that_is_none_harms_nothing(environment: dict[str, str]) -> None:
    told = ServiceNotices(environment)
    told.tell("READY=1")
    assert told.every_s == 0.0


def test_signals_without_end_end_it_once_and_in_order(tmp_path: Path, manager: Listener) -> None:
    """The next ones come while runs are stopped, while the node leaves, and while the store is stopped."""
    mark, go = f"service-{os.urandom(4).hex()}", tmp_path / "go"
    with Node(tmp_path / "node") as node:
        with service(node, manager) as daemon:
            task = task_until(node, go, mark, "trap '' TERM; ")
            waits = str(node.dispatch("echo later", "--to", "shell")["id"])
            store = int((node.home / "store" / "server.pid").read_text())
            while daemon.poll() is None:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    daemon.send_signal(number)
                time.sleep(0.002)
            assert daemon.returncode == 0
            assert ended(store) and not marked(mark)
        go.touch()
        with service(node, manager):
            assert node.run("task", "wait", task, waits).returncode == 0
            first, second = node.task(task)["runs"]
            assert (first["outcome"], first["restart"], second["outcome"]) == ("lost", True, "ok")
            kinds = [event.type for event in node.events()]
            held, left = kinds.index("node.held"), kinds.index("node.left")
            assert held < kinds.index("run.ended") < left
            assert "run.released" not in kinds[held:left] and "run.started" not in kinds[held:left]
            assert next(event for event in node.events("node.held")).fact.reason == RESTART  # type: ignore[union-attr]
            assert set(node.ends().values()) == {1}
            assert not (node.home / "store" / "incidents").exists()


def test_shutdowns_at_once_with_a_signal_among_them_end_it_once(tmp_path: Path, manager: Listener) -> None:
    mark = f"service-{os.urandom(4).hex()}"
    with Node(tmp_path / "node") as node:
        with service(node, manager) as daemon:
            task = task_until(node, tmp_path / "never", mark, "trap '' TERM; ")
            waits = str(node.dispatch("echo later", "--to", "shell")["id"])
            words = [sys.executable, "-m", "maestro", "shutdown", "--grace-period", "1"]
            several = [
                subprocess.Popen(words, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(3)
            ]
            until(lambda: node.events("task.cancel_requested"))
            daemon.send_signal(signal.SIGTERM)
            answers = [(one.communicate(timeout=PATIENCE_S), one.returncode) for one in several]
            assert [code for _, code in answers] == [0, 0, 0], answers
            assert daemon.wait(PATIENCE_S) == 0
            assert not marked(mark)
        assert node.json("shutdown")["cancelled"] == []
        assert node.task(task)["status"] == "cancelled" and node.task(waits)["status"] == "queued"
        kinds = [event.type for event in node.events()]
        assert kinds.count("run.ended") == kinds.count("run.released") == 1
        node.up()
        assert node.run("task", "wait", waits).returncode == 0
