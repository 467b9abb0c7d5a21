"""A receiver of webhooks on loopback, real sockets, that misbehaves as told; and a monitor's link without a daemon.

The certificate in `self_signed.pem`, with its key, is of `receiver.test` and `localhost`, and of these tests only.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import trio

from maestro.config import Settings
from maestro.model.events import Event, NewEvent
from maestro.monitor.daemon_link import DaemonAway, DaemonLink
from maestro.runtime.client.answers import Answer
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store

CERTIFICATE = Path(__file__).with_name("self_signed.pem")
KEYS = (b"k" * 32, b"n" * 32)


class Request(NamedTuple):
    """What has arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[socket.socket, Request], None]


def answers(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer in order."""
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", *headers, "", ""]

    def act(sock: socket.socket, _: Request) -> None:
        sock.sendall("\r\n".join(lines).encode() + body)

    return act


def says(data: bytes) -> Behaviour:
    """Answer with these bytes, whatever they mean, and close."""
    return lambda sock, _: sock.sendall(data)


class Receiver:
    """Takes requests, each in a thread. behaviours: by path; others are answered with 204."""

    def __init__(self, tls: bool = False) -> None:
        self.requests: list[Request] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.connections = 0
        self.released = threading.Event()
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def hangs(self, sock: socket.socket, _: Request) -> None:
        """Say nothing, until the test is over."""
        self.released.wait(60)

    def drips(self, sock: socket.socket, _: Request) -> None:
        """Send a byte now and then, for ever."""
        with suppress(OSError):
            sock.sendall(b"HTTP/1.1 200 OK\r\n")
            while not self.released.wait(0.05):
                sock.sendall(b"x")

    def close(self) -> None:
        self.released.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock, sock.makefile("rb") as lines:
                request = _read(lines)
                if request is not None:
                    self.requests.append(request)
                    self.behaviours.get(request.path, answers(204))(sock, request)


def _read(lines: Any) -> Request | None:
    first = lines.readline().split()
    if len(first) < 2 or first[0] != b"POST":
        return None
    headers: dict[str, str] = {}
    while (line := lines.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Request(first[1].decode(), headers, lines.read(int(headers.get("content-length", "0"))))


@contextmanager
def receiving(tls: bool = False) -> Iterator[Receiver]:
    """A receiver, closed at the end."""
    receiver = Receiver(tls)
    try:
        yield receiver
    finally:
        receiver.close()


def settings(keys: Sequence[bytes] = KEYS, namespace: str = "webhooks") -> Settings:
    return cast(Settings, SimpleNamespace(webhook_secrets=tuple(keys), namespace=namespace))


class Here:
    """A monitor's link that has the commands carried out in this process. away: calls that fail before one works."""

    def __init__(self, context: Context, keys: Sequence[bytes] = KEYS) -> None:
        self.context = context
        self.settings = settings(keys, context.store.namespace)
        self.away = 0
        self.asked: list[p.Command] = []
        self.notes: list[str] = []

    @property
    def link(self) -> DaemonLink:
        return cast(DaemonLink, self)

    async def ask(self, command: p.Command, start: bool = False) -> Answer:
        self.asked.append(command)
        if self.away:
            self.away -= 1
            raise DaemonAway("the daemon is away")
        rows: list[Any] = []

        async def take(frame: p.ServerFrame) -> None:
            if isinstance(frame, p.Item):
                rows.append(frame.data)
            elif isinstance(frame, p.Note):
                self.notes.append(frame.text)

        call = Call(self.context, p.Caller("cli:test", "/", {}, False), take)
        done = await HANDLERS[type(command)](call, command)
        return Answer(rows, done.data)

    async def append(self, *events: NewEvent) -> None:
        await self.context.append(events, "daemon:n", "cmd:1")


def facts(store: Store, kind: type[Any]) -> list[Any]:
    """All facts of a kind, in order."""
    events: list[Event] = store.log.read(0, 10_000)
    return [event.fact for event in events if isinstance(event.fact, kind)]


async def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    with trio.fail_after(30):
        while not true():
            await trio.sleep(0.01)
