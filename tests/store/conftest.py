"""A proxy that loses things, and short ways to say an append."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from maestro.model.events import NewEvent, StateSet
from maestro.store.contract import Append


def appending(key: str, value: str = "", expected: int | None = None, **kw: Any) -> Append:
    """One `state.set`; its cause names the command, the same on each try."""
    cause = kw.pop("cause", f"cmd:{key}:{value}")
    event = NewEvent(f"state:{key}", StateSet(key, value), expected)
    return Append((event, *kw.pop("more", ())), kw.pop("actor", "tester"), cause, **kw)


@pytest.fixture
def an_append() -> Callable[..., Append]:
    """an_append(key, value, expected, cause=..., more=(), resend=..., ...)."""
    return appending


class Proxy:
    """Between clients and a server's unix socket.

    lose_replies: what the server says is swallowed, then the connection is cut. hold_requests: what clients say is
    kept until it is False again, even if they have gone by then.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.lose_replies = 0
        self.requests = 0
        self.flowing = threading.Event()
        self.flowing.set()
        self.path = str(Path(mkdtemp(prefix="ms-")) / "p")
        self.url = f"unix://{self.path}"
        self._open: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                continue
            self._open += [client, server]
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._replies, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(1 << 16):
                self.flowing.wait()
                self.requests += 1
                server.sendall(data)
            self.flowing.wait()
            server.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(1 << 16):
                if self.lose_replies:
                    self.lose_replies -= 1
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def cut(self) -> None:
        """End all connections."""
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def close(self) -> None:
        self.flowing.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        Path(self.path).unlink()
        Path(self.path).parent.rmdir()


@pytest.fixture
def start_proxy() -> Iterator[Callable[[str], Proxy]]:
    """start_proxy(path of a server's unix socket)."""
    proxies: list[Proxy] = []

    def start(target: str) -> Proxy:
        proxies.append(Proxy(target))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()
