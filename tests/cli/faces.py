"""Peers that are not the store that a command hopes for: silent, hasty, endless, of another protocol. On loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

Behaviour = Callable[[socket.socket], None]


def silent(client: socket.socket) -> None:
    """Reads, and never answers."""
    while client.recv(4096):
        pass


def hasty(client: socket.socket) -> None:
    """Closes at once."""


def http(client: socket.socket) -> None:
    """Answers as a web server would."""
    client.recv(4096)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def mail(client: socket.socket) -> None:
    """Greets first, as a mail server does."""
    client.sendall(b"220 mail.example ESMTP\r\n")
    client.recv(4096)


def agreeable(client: socket.socket) -> None:
    """Says OK to everything, in Redis's protocol."""
    while client.recv(4096):
        client.sendall(b"+OK\r\n")


def dripping(client: socket.socket) -> None:
    """Begins a reply and adds a byte to it now and then, for ever."""
    client.sendall(b"$9")
    while True:
        client.sendall(b"9")
        time.sleep(0.2)


def flooding(client: socket.socket) -> None:
    """Promises half a gigabyte, and sends it slowly."""
    client.sendall(b"$536870912\r\n")
    while True:
        client.sendall(b"x" * 65536)
        time.sleep(0.2)


def nesting(client: socket.socket) -> None:
    """Answers by lists in lists in lists."""
    client.sendall(b"*1\r\n" * 100_000)
    client.recv(4096)


class Face:
    """Listens on a port of its own; each connection gets the behaviour, then its end."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._behaviour(client)

    def close(self) -> None:
        """Listen no more: the port then refuses."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
