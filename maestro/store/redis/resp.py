"""A minimal RESP client over a bare socket, for starting, choosing and checking a server.

`import redis` costs 187 ms, too much for a command line that only sends a PING. The log itself goes through
`connection.py`. RESP 2, one connection, no retries.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

Reply = bytes | int | None | list["Reply"]
REPLY_BYTES_MAX = 1 << 26
DEPTH_MAX = 8
"""No server nests the replies to the commands sent here any deeper."""


class ErrorReply(Exception):
    """An error reply of the server. code: its first word, such as LOADING or NOPERM."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Wire:
    """One connection. Its methods raise OSError (timeouts included) when the server is away; then it is unusable."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._patience_s = connected.gettimeout() or 60.0
        self._until = 0.0
        self._unread = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *words: str | bytes | int) -> Reply:
        """Send one command and return its reply. Raises `ErrorReply`, and TimeoutError for a reply not complete in
        time.
        """
        self._until = time.monotonic() + self._patience_s
        self._socket.settimeout(self._patience_s)
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        frame = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n" % len(parts) + frame)
        return self._reply()

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        """Read available data, or wait for it. One time limit per reply: a peer that trickles bytes gets no more."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        came = self._socket.recv(65536)
        if not came:
            raise ConnectionResetError("the server closed the connection")
        self._unread += came
        if len(self._unread) > REPLY_BYTES_MAX:
            raise ConnectionError("the other side sends too much")

    def _taken(self, size: int) -> bytes:
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    def _reply(self, depth: int = 0) -> Reply:
        while (end := self._unread.find(b"\r\n")) < 0:
            self._more()
        line = self._taken(end + 2)
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ErrorReply(rest.decode("utf-8", "replace"))
        try:
            size = int(rest)
        except ValueError:
            raise ConnectionError("the other side does not speak RESP") from None
        if kind == b":":
            return size
        if kind == b"$":
            return None if size < 0 else self._bulk(size)
        if kind == b"*" and depth < DEPTH_MAX:
            return None if size < 0 else [self._reply(depth + 1) for _ in range(size)]
        raise ConnectionError("the other side does not speak RESP")

    def _bulk(self, size: int) -> bytes:
        while len(self._unread) < size + 2:
            self._more()
        return self._taken(size + 2)[:-2]


def dial_unix(path: Path, timeout_s: float) -> Wire:
    """Connect to a unix socket. Raises OSError; BlockingIOError when its queue of connections is full."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return Wire(connection)


def dial(url: str, timeout_s: float) -> Wire:
    """Connect to a redis://, rediss:// or unix:// URL, and authenticate. Raises OSError and `ErrorReply`."""
    parts = urlsplit(url)
    wire = dial_unix(Path(unquote(parts.path)), timeout_s) if parts.scheme == "unix" else _dial_tcp(parts, timeout_s)
    try:
        if parts.password is not None:
            wire.call("AUTH", unquote(parts.username or "default"), unquote(parts.password))
    except BaseException:
        wire.close()
        raise
    return wire


def _dial_tcp(parts: SplitResult, timeout_s: float) -> Wire:
    host = parts.hostname or "localhost"
    connection = socket.create_connection((host, parts.port or 6379), timeout_s)
    if parts.scheme == "rediss":
        import ssl  # imported for TLS only, as it costs time

        try:
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise
    return Wire(connection)
