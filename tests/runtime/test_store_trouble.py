"""A store that is full, silent, or none at all: a command is told in one true line, and nothing happens later that it
was told had not happened.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import StoreServer
from tests.runtime.acting import Node, until
from tools.chaos.proxy import Proxy

COMMANDS = (
    ("task", "list"),
    ("state", "set", "a", "1"),
    ("task", "dispatch", "true", "--to", "shell"),
    ("agent", "assign", "shell", "--to-workspace", "w"),
)


@pytest.fixture
def server() -> Iterator[StoreServer]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    yield server
    server.close()


@pytest.fixture
def raw(server: StoreServer) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(server.socket)) as raw:
        yield raw


def told(node: Node, *words: str, timeout: float = 60) -> str:
    """The one line that a refused command prints."""
    done = node.run(*words, timeout=timeout)
    assert (done.returncode, done.stdout) == (5, ""), (words, done)
    lines = [line for line in done.stderr.splitlines() if "GB free" not in line]
    assert len(lines) == 1, lines
    assert "defect" not in lines[0]
    return lines[0]


class Listener:
    """A server on loopback that is no store: `behave` is given each connection."""

    def __init__(self, behave: Callable[[socket.socket], object]) -> None:
        self._behave = behave
        self._kept: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._kept.append(client)
            threading.Thread(target=self._behave, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for client in self._kept:
            client.close()


def speaks_http(client: socket.socket) -> None:
    client.recv(65536)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def hangs_up(client: socket.socket) -> None:
    client.close()


def says_nothing(client: socket.socket) -> None:
    client.recv(65536)


@pytest.mark.parametrize(
    ("behave", "what"),
    [
        (speaks_http, "what answers is no Redis or Valkey server; correct MAESTRO_REDIS_URL"),
        (hangs_up, "the store cannot be used"),
        (says_nothing, "the store did not answer in time"),
    ],
)
def test_what_is_no_store_is_told_in_one_line(
    tmp_path: Path, behave: Callable[[socket.socket], object], what: str
) -> None:
    listener = Listener(behave)
    try:
        node = Node(tmp_path, MAESTRO_REDIS_URL=listener.url)
        for words in COMMANDS[:3]:
            assert what in told(node, *words)
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://no-such-host.invalid:6379", "no-such-host.invalid is not known"),
        ("unix:///nonexistent", "cannot be reached"),
        ("redis://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_where_nobody_is_is_told_in_one_line(tmp_path: Path, url: str, what: str) -> None:
    node = Node(tmp_path, MAESTRO_REDIS_URL=url)
    for words in COMMANDS[:3]:
        assert what in told(node, *words)


def test_who_is_not_let_in_is_told_in_one_line(tmp_path: Path, server: StoreServer, raw: redis.Redis) -> None:
    raw.execute_command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+hello", "+info")
    raw.config_set("requirepass", "secret")
    for login, what in (("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("bob:pw@", "NOPERM")):
        url = f"unix://{login}{server.socket}"
        node = Node(tmp_path / what, MAESTRO_REDIS_URL=url)
        for words in COMMANDS[:2]:
            line = told(node, *words)
            assert what in line
            assert "secret" not in line
            assert "wrong" not in line.replace("wrong kind", "")
    rows = json.loads(node.run("doctor").stdout)
    assert "ACL SETUSER" in next(row["remedy"] for row in rows if row["check"] == "store")


@pytest.mark.parametrize("daemon", [True, False])
def test_a_full_store_says_no_at_once_and_nothing_comes_later(
    tmp_path: Path, server: StoreServer, raw: redis.Redis, daemon: bool
) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        if daemon:
            node.dispatch("true", "--to", "shell", "--sync")
        else:
            node.json("state", "set", "b", "1")
        raw.config_set("maxmemory", 1)
        before = len(node.events("state.set")), len(node.events("task.dispatched"))
        for words in COMMANDS[1:3] if daemon else COMMANDS[1:2]:
            line = told(node, *words)
            assert "nothing was done: the store is out of memory (maxmemory); give it memory" in line
        raw.config_set("maxmemory", 0)
        node.json("state", "set", "c", "1")
        assert (len(node.events("state.set")), len(node.events("task.dispatched"))) == (before[0] + 1, before[1])
        done = node.dispatch("true", "--to", "shell", "--sync")
        assert done["status"] == "completed"


def test_what_a_silent_store_was_sent_is_called_unknown_and_repeated_it_is_one_task(
    tmp_path: Path, server: StoreServer
) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        node.dispatch("true", "--to", "shell", "--sync")
        server.signal(signal.SIGSTOP)
        line = told(node, "task", "dispatch", "echo once", "--to", "shell")
        server.signal(signal.SIGCONT)
        key = key_of(line)
        done = node.dispatch("echo once", "--to", "shell", "--sync", "--key", key)
        assert (done["id"], done["status"]) == (key, "completed")
        assert node.dispatch("echo once", "--to", "shell", "--key", key)["id"] == key
        assert [event.subject for event in node.events("task.dispatched")][1:] == [f"task:{key}"]
        assert len(node.events("run.ended")) == 2


class Forgetful(Proxy):
    """Loses the replies to dispatches, and only these, while `is_losing`."""

    def __init__(self, path: Path, target: Path) -> None:
        self.is_losing = False
        self._doomed: set[socket.socket] = set()
        super().__init__(path, target)

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if replies and source in self._doomed:
                    self.dropped += 1
                    break
                if not replies and self.is_losing and b"task.dispatched" in data:
                    self._doomed.add(sink)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def key_of(line: str) -> str:
    """The key with which a line says that repeating is safe."""
    assert "not confirmed" in line or "may or may not" in line, line
    return line.partition("--key ")[2].partition(":")[0]


@pytest.mark.parametrize("named", ["", "mine", "01ARZ3NDEKTSV4RRFFQ69G5FAV"])
def test_a_dispatch_whose_reply_was_lost_is_repeated_by_its_key_and_is_one_task(
    tmp_path: Path, server: StoreServer, named: str
) -> None:
    proxy = Forgetful(tmp_path / "p", server.socket)
    try:
        with Node(tmp_path, MAESTRO_REDIS_URL=proxy.url) as node:
            node.dispatch("true", "--to", "shell", "--sync")
            store = server.url
            proxy.is_losing = True
            line = told(node, "task", "dispatch", "echo once", "--to", "shell", *(("--key", named) if named else ()))
            proxy.is_losing = False
            assert proxy.dropped
            key = key_of(line)
            assert key == named or not named
            done = node.dispatch("echo once", "--to", "shell", "--sync", "--key", key)
            assert done["status"] == "completed"
            node.url = store
            until(lambda: len(node.events("run.ended")) >= 2)
            tasks = [event.subject for event in node.events("task.dispatched")][1:]
            assert tasks == [f"task:{done['id']}"]
    finally:
        proxy.close()


def test_other_commands_say_that_repeating_does_no_harm(tmp_path: Path, server: StoreServer) -> None:
    proxy = Proxy(tmp_path / "p", server.socket)
    try:
        with Node(tmp_path, MAESTRO_REDIS_URL=proxy.url) as node:
            node.json("state", "set", "a", "0")
            node.up()
            proxy.lose_replies(True)
            assert "store" in told(node, "state", "set", "a", "1")
            proxy.lose_replies(False)
            assert node.json("state", "set", "a", "1")["value"] == "1"
    finally:
        proxy.close()
