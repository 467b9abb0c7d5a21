"""A log that lost what it had acknowledged: the daemon stops and says so, and goes on only by an operator's word."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from maestro.store.embedded import embedded_server as server_of_home
from tests.conftest import StoreServer
from tests.runtime.acting import Node, ended, marked, until


@pytest.fixture
def server() -> Iterator[StoreServer]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    yield server
    server.close()


def loses_its_store(node: Node, lose: object) -> None:
    """The daemon with a run on, whose store loses events: it ends at once, says why, and takes its run with it."""
    mark = f"loss-{os.urandom(4).hex()}"
    node.dispatch("true", "--to", "shell", "--sync")
    node.dispatch(f"export MARK={mark}; exec sleep 600", "--to", "shell")
    until(lambda: marked(mark))
    pid = node.pid
    until(lambda: (node.home / "known").exists())
    lose()  # type: ignore[operator]
    until(lambda: ended(pid))
    assert not marked(mark)
    (said,) = [line for line in node.log().splitlines() if '"ERROR"' in line][-1:]
    assert "--accept-loss" in said
    refused = node.run("task", "dispatch", "true", "--to", "shell")
    assert refused.returncode == 5
    assert "--accept-loss" in refused.stderr
    assert "Traceback" not in node.log()


def goes_on_when_the_loss_is_accepted(node: Node) -> None:
    looked = node.run("doctor")
    assert looked.returncode == 5
    assert '"log"' in looked.stdout
    accepted = node.run("doctor", "--accept-loss")
    assert accepted.returncode == 0, (accepted.stdout, accepted.stderr)
    for task in node.json("task", "list"):  # what ran when the log broke is in it still, and would run again
        if task["status"] in {"queued", "running"}:
            node.json("task", "cancel", task["id"])
            node.run("task", "wait", task["id"])
    done = node.dispatch("echo on again", "--to", "shell", "--sync")
    assert done["runs"][-1]["result"] == "on again"
    assert [event.type for event in node.events()].count("log.forked") == 1
    assert node.json("replay", "verify")["ok"] is True
    assert node.run("doctor", "--accept-loss").returncode == 2  # there is none any more


def test_a_flushed_store_stops_the_daemon_until_the_loss_is_accepted(tmp_path: Path, server: StoreServer) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        with redis.Redis(unix_socket_path=str(server.socket)) as raw:
            loses_its_store(node, raw.flushall)
        goes_on_when_the_loss_is_accepted(node)


def test_a_store_without_its_tail_stops_the_daemon_until_the_loss_is_accepted(
    tmp_path: Path, server: StoreServer
) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        node.dispatch("true", "--to", "shell", "--sync")
        copy = tmp_path / "copy"

        def promote_a_replica_that_was_behind() -> None:
            server.kill()
            shutil.rmtree(server.folder / "appendonlydir")
            shutil.copytree(copy, server.folder / "appendonlydir")
            server.start()

        server.stop()
        shutil.copytree(server.folder / "appendonlydir", copy)
        server.start()
        loses_its_store(node, promote_a_replica_that_was_behind)
        goes_on_when_the_loss_is_accepted(node)


def test_a_log_without_the_versions_of_its_subjects_is_made_whole_when_that_is_accepted(
    tmp_path: Path, server: StoreServer
) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        with redis.Redis(unix_socket_path=str(server.socket)) as raw:
            loses_its_store(node, lambda: raw.hdel(f"maestro:{{{node.namespace}}}:versions", ""))
        looked = node.run("doctor")
        assert "versions of the log's subjects are gone" in looked.stdout
        goes_on_when_the_loss_is_accepted(node)
        (forked,) = node.events("log.forked")
        assert "rebuilt from its entries" in forked.fact.reason  # type: ignore[union-attr]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("lost", ["floor", "everything"])
def test_a_broken_log_does_not_keep_the_daemon_and_its_store_from_being_stopped(
    tmp_path: Path, lost: str, at_once: bool
) -> None:
    mark = f"loss-{os.urandom(4).hex()}"
    node = Node(tmp_path)
    node.dispatch(f"export MARK={mark}; exec sleep 600", "--to", "shell")
    until(lambda: marked(mark))
    pid = node.pid
    until(lambda: (node.home / "known").exists())
    with redis.Redis(unix_socket_path=f"{node.home}/store/store.sock") as raw:
        if lost == "floor":
            raw.hdel(f"maestro:{{{node.namespace}}}:versions", "")
        else:
            raw.flushall()
    if not at_once:
        until(lambda: ended(pid))
    done = node.run("shutdown", "--grace-period", "1")
    assert done.returncode == 0, done.stderr
    assert "without a record" in done.stderr
    assert ended(pid)
    assert not marked(mark)
    assert not server_of_home.answers(node.home)


def test_another_daemon_is_refused_while_one_runs(tmp_path: Path, server: StoreServer) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        node.up()
        second = node.run("worker")
        assert (second.returncode, second.stdout) == (4, "")
        assert "running already" in second.stderr
