"""The line of a node to the store, as a proxy on the node's host: it may be slow, and break again and again."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from random import Random

from tools.chaos.nodes.hosts import Host, listening

CHUNK = 16384
PORT = 6390


class Line:
    """Listens on a host's loopback interface and forwards to the store from there. Thread-safe.

    delay_s: how long each piece takes at most; broken: how likely it is that the connection breaks with a piece, before
    or behind it.
    """

    def __init__(self, host: Host, store: str, port: int, seed: float) -> None:
        self.delay_s = 0.0
        self.broken = 0.0
        self.breaks = 0
        self._host, self._to = host, (store, port)
        self._rng = Random(seed)
        self._ends: set[socket.socket] = set()
        self._closed = False
        self._listening = listening(host, PORT)
        threading.Thread(target=self._accept, name="line", daemon=True).start()

    @property
    def url(self) -> str:
        """The store as the node sees it."""
        return f"redis://127.0.0.1:{PORT}/0"

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._closed = True
        _end(self._listening, *list(self._ends))

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self._host.socket_of(lambda: socket.create_connection(self._to, 5))
            far.settimeout(None)
        except OSError:
            _end(near)
            return
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends |= {near, far}
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self.delay_s:
                    time.sleep(self._rng.uniform(0, self.delay_s))
                breaks = self._rng.random() < self.broken
                if breaks and self._rng.random() < 0.5:  # before it: what was sent is lost
                    self.breaks += 1
                    break
                sink.sendall(data)
                if breaks:
                    self.breaks += 1
                    break
        _end(source, sink)
        self._ends -= {source, sink}


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
