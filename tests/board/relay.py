"""A relay between a browser and a board (SOCKS 5) whose connections can be cut, as a network does."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """A relay on loopback. Use as a context manager. is_open: whether new connections are let through."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = f"socks5://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_open = True
        self._links: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> int:
        """Break all connections off, and let none through from now on; how many there were."""
        self.is_open = False
        links = list(self._links)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        return len(links) // 2

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            if not self.is_open:
                return
            near.recv(257)  # the greeting
            near.sendall(b"\x05\x00")
            asked = near.recv(262)
            host = socket.inet_ntoa(asked[4:8]) if asked[3] == 1 else asked[5 : 5 + asked[4]].decode()
            with socket.create_connection((host, int.from_bytes(asked[-2:], "big"))) as far:
                near.sendall(b"\x05\x00\x00\x01" + bytes(6))
                self._links |= {near, far}
                back = threading.Thread(target=_copy, args=(far, near), daemon=True)
                back.start()
                _copy(near, far)
                back.join()
                self._links -= {near, far}


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until one of them ends, and end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for link in (source, target):
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
