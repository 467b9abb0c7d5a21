"""A proxy to the store that can lose replies: a command is executed, but its reply never arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

CHUNK = 65536


class Proxy:
    """Listens on a unix socket and forwards bytes to and from a target. Thread-safe."""

    def __init__(self, path: Path, target: Path) -> None:
        self.url = f"unix://{path}"
        self.dropped = 0
        self._target = target
        self._losing = False
        self._to = b""
        self._asked: set[socket.socket] = set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(128)
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def lose_replies(self, losing: bool, to: bytes = b"") -> None:
        """While losing, discard each reply and close its connection. to: only replies to requests that contain this."""
        self._losing, self._to = losing, to

    def turn_to(self, target: Path) -> None:
        """Close all connections; new ones go to another server."""
        self._target = target
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _end(*pair)

    def close(self) -> None:
        """Stop listening and close all connections."""
        _end(self._listening)
        self.turn_to(self._target)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._target))
            except OSError:
                _end(client, server)
                continue
            with self._lock:
                self._pairs.add((client, server))
            for args in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=args, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not replies and self._to and self._to in data:
                    self._asked.add(sink)
                if replies and self._losing and (not self._to or source in self._asked):
                    self.dropped += 1
                    break
                sink.sendall(data)
        _end(source, sink)
        with self._lock:
            self._pairs -= {(source, sink), (sink, source)}
            self._asked -= {source, sink}


def _end(*ends: socket.socket) -> None:
    """Shut down sockets (which wakes threads that read or accept on them) and close them."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
