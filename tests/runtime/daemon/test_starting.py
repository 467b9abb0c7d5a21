"""Starting the daemon while another ends, and what ends it: no witness that cannot be written, but a dead store."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from maestro import config
from maestro.model.errors import MaestroError
from maestro.model.events import NewEvent, StateSet
from maestro.runtime.client.daemon_start import SPAWNS_MAX, start_daemon
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.daemon_lock import LOCK
from maestro.runtime.node.failures import user_error
from tests.runtime.acting import PATIENCE_S, Node, until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        yield node


def test_a_daemon_that_ends_meanwhile_is_followed_by_another(node: Node) -> None:
    with (node.home / LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starter = subprocess.Popen(
            [sys.executable, "-m", "maestro", "up"], env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        until(lambda: (node.home / "daemon.log").exists() and "running already" in node.log())
        assert starter.poll() is None
    _, said = starter.communicate(timeout=PATIENCE_S)
    assert starter.returncode == 0, said


def test_a_daemon_that_is_not_needed_has_ended_before_the_other_one_is_used(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be the daemon, or restart one, where that is shut down before it has looked for the lock."""
    node.up()
    for name, value in node.env.items():
        monkeypatch.setenv(name, value)
    assert start_daemon(config.load(node.env, node.folder)) == node.pid
    assert "running already" in node.log()


def test_a_daemon_that_is_refused_for_its_own_reason_is_not_tried_for_ever(node: Node) -> None:
    (node.home / "locks").symlink_to(node.folder)
    done = node.run("up")
    assert done.returncode == 4, done.stderr
    assert "the daemon did not start" in done.stderr and "locks" in done.stderr
    assert len(node.log().splitlines()) <= SPAWNS_MAX


def test_a_witness_that_cannot_be_written_ends_nothing(node: Node) -> None:
    node.agent_type("worker")
    node.json("agent", "assign", "worker", "--to-workspace", f"{node.folder}/ws")
    node.up()
    pid = node.pid
    known = node.home / "known"
    known.rename(node.home / "known.before")
    known.write_text("no folder")
    for _ in range(3):
        assert node.dispatch("run: true", "--to", "worker", "--sync")["status"] == "completed"
    until(lambda: "known head: " in node.log())
    assert node.pid == pid
    known.unlink()
    (node.home / "known.before").rename(known)


def test_an_append_whose_store_cannot_come_back_ends(node: Node) -> None:
    node.json("state", "set", "k", "before")
    (log,) = (node.home / "store" / "data").rglob("*.incr.aof")
    whole = log.read_bytes()
    ended: list[Exception] = []

    def live() -> None:
        try:
            trio.run(append_when_dead)
        except Exception as error:
            ended.append(error)

    async def append_when_dead() -> None:
        async with open_context(config.load(node.env, node.folder)) as context:
            os.kill(int((node.home / "store" / "server.pid").read_text()), signal.SIGKILL)
            log.write_bytes(b"*1\r\n$7\r\nGARBAGE\r\n" + whole)
            await context.append([NewEvent("state:k", StateSet("k", "after"))], "test", "cmd:after")

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the append waits for a store that nobody revives"
    log.write_bytes(whole)
    known = user_error(ended[0])
    assert isinstance(known, MaestroError) and "load" in known.line(), ended
