"""A client of another build: the daemon lets its runs end, starts anew in place, and goes on with the queue."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from maestro import __version__
from maestro.model.events import NewEvent, NodeJoined
from maestro.runtime.protocol import frames, messages as p
from maestro.store.contract import Append, Committed
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("skew")) as node:
        node.agent_type("worker")
        node.json("agent", "assign", "worker", "--to-workspace", f"{node.folder}/ws")
        node.up()
        yield node


def say_hello(node: Node, protocol: int, build: str, folds: str = "") -> p.ServerFrame:
    """The first frame that the daemon answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(node.home / "daemon.sock"))
        frames.send(client, p.Hello(protocol, build, folds, p.Caller("test", "/")))
        frame: p.ServerFrame = msgspec.msgpack.decode(next(frames.bodies(client)), type=p.ServerFrame)
        return frame


def since(node: Node) -> int:
    """At which event this node's daemon joined last."""
    return [event.seq for event in node.events("node.joined")][-1]


def test_a_client_of_the_same_build_is_welcome(node: Node) -> None:
    welcome = say_hello(node, p.PROTOCOL, __version__)
    assert isinstance(welcome, p.Welcome) and welcome.build == __version__


@pytest.mark.parametrize(
    ("protocol", "build", "folds"),
    [(p.PROTOCOL + 1, __version__, ""), (p.PROTOCOL, "99.0.0", ""), (p.PROTOCOL, __version__, "other-folds")],
)
def test_a_daemon_asked_by_another_build_starts_anew_once_its_runs_have_ended(
    node: Node, protocol: int, build: str, folds: str
) -> None:
    go, joined = node.folder / f"go-{protocol}-{build}-{folds}", since(node)
    wait_for_go = f"until test -e '{go}'; do sleep 0.05; done"
    on = node.dispatch(f"run: {wait_for_go}; echo ended by itself", "--to", "worker")
    queued = node.dispatch("run: echo after", "--to", "worker")
    until(lambda: node.task(str(on["id"]))["status"] == "running")
    daemon = node.pid
    skew = say_hello(node, protocol, build, folds)
    assert skew == p.Skew(__version__, p.PROTOCOL, 1)
    again = say_hello(node, p.PROTOCOL, __version__)
    assert isinstance(again, p.Welcome)  # it serves its own build's clients while it drains
    assert node.task(str(queued["id"]))["status"] == "queued"
    waiting = subprocess.Popen(
        [sys.executable, "-m", "maestro", "task", "dispatch", "run: echo last", "--to", "worker", "--sync"],
        env=node.env,
        stdout=subprocess.PIPE,
    )
    until(lambda: len(node.json("task", "list", "--status", "queued")) == 2)
    go.touch()
    assert node.run("task", "wait", str(on["id"]), str(queued["id"])).returncode == 0
    assert [run["outcome"] for run in node.task(str(on["id"]))["runs"]] == ["ok"]
    assert node.task(str(on["id"]))["runs"][0]["result"] == "mode code\nended by itself"
    assert json.loads(waiting.communicate(timeout=60)[0])["runs"][0]["result"] == "mode code\nlast"
    assert since(node) > joined
    assert node.pid == daemon  # the same process, started anew in place
    ran_at = node.task(str(queued["id"]))["runs"][0]["id"]
    assert next(e.seq for e in node.events("run.started") if e.subject == f"run:{ran_at}") > since(node)


def test_a_client_of_an_older_release_reads_beside_the_daemon_or_is_refused_which_goes_on(node: Node) -> None:
    joined = since(node)
    assert say_hello(node, p.PROTOCOL, "1.2.0") == p.Skew(__version__, p.PROTOCOL, 0)  # who only reads asks no more
    refused = say_hello(node, p.PROTOCOL, "1.2.0")
    assert isinstance(refused, p.Failed) and refused.exit_code == 4
    assert "1.2.0" in refused.what and __version__ in refused.what and "maestro" in refused.mend
    assert node.dispatch("run: true", "--to", "worker", "--sync")["status"] == "completed"
    assert since(node) == joined


def test_what_would_stop_a_node_of_an_older_release_is_refused_without_a_daemon_too(node: Node) -> None:
    asked = ("config", "set", "views.keep", "1000")
    node.up()
    store = node.store()
    try:
        elder = NodeJoined("elder", "there", "i", 1, 4, "1.2.0")
        append = Append((NewEvent("node:elder", elder),), "test", "test")
        assert isinstance(store.log.commit([append], None)[0], Committed)
        assert store.work.lease_take("node:elder", "i", 600_000)
        for alone in (False, True):
            if alone:
                node.kill()
            done = node.run(*asked)
            assert done.returncode == 4 and "node elder runs Maestro 1.2.0" in done.stderr, done
            assert node.run("state", "set", "k", "v").returncode == 0  # it knows that
        store.work.lease_drop("node:elder", "i")
        assert node.run(*asked).returncode == 0  # a node that is gone stops before nothing
    finally:
        store.close()
    node.up()


def test_a_daemon_may_start_anew_any_number_of_times(node: Node) -> None:
    descriptors = Path(f"/proc/{node.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for turn in range(3):
        joined = since(node)
        say_hello(node, 1000 + turn, "x")
        until(lambda joined=joined: since(node) > joined)  # type: ignore[misc]
        until(lambda: node.run("task", "list").returncode == 0)
    node.dispatch("run: true", "--to", "worker", "--sync")
    assert len(list(descriptors.iterdir())) < before + 6


def test_what_is_no_message_of_any_protocol_ends_that_connection_only(node: Node) -> None:
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(node.home / "daemon.sock"))
            client.sendall(rubbish)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    assert node.dispatch("run: true", "--to", "worker", "--sync")["status"] == "completed"
    assert "defect" not in node.log()


def test_an_agent_cannot_make_its_node_start_anew(node: Node) -> None:
    script = (
        "import os, socket; from maestro.runtime.protocol import frames, messages as p;"
        "s = socket.socket(socket.AF_UNIX);"
        "s.connect(os.environ['MAESTRO_RUN_SOCKET']); frames.send(s, p.Hello(99, 'x', '', p.Caller('a', '/')));"
        "print(type(s.recv(100)).__name__);"
        "from maestro.config import load; from maestro.runtime.client import client as c, connection as d;"
        "d.greet.__defaults__ = ('1.2.0',); state = p.StateSet('of-a-run', 'v');"
        "print(type(c.execute(state, load(dict(os.environ)), print)).__name__)"
    )
    node.up()
    joined = since(node)
    row = node.dispatch(f'run: python -c "{script}"; sleep 0.5', "--to", "worker", "--sync")
    assert row["runs"][0]["result"] == "mode code\nbytes\nDone"  # what a run may ask for, any build may
    assert node.json("state", "get", "of-a-run")["value"] == "v"
    node.dispatch("run: true", "--to", "worker", "--sync")
    assert since(node) == joined
