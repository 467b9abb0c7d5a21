"""A few commands to a Redis or Valkey server over a bare socket, for starting, choosing and checking one.

`import redis` costs 187 ms; a command line that only wants a PING does not pay for it. The log itself goes through
redis-py (log.py). RESP 2, one connection, no retries.
"""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

Reply = bytes | int | None | list["Reply"]


class ErrorReply(Exception):
    """The server said no. code: the first word of its answer, such as LOADING or NOPERM."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Wire:
    """One connection. Its methods raise OSError (timeouts included) when the server is away; the wire is then spent."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader = connected.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *words: str | bytes | int) -> Reply:
        """Send one command, return its reply. Raises `ErrorReply`."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        frame = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n" % len(parts) + frame)
        return self._reply()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def _reply(self) -> Reply:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
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
        if kind == b"*":
            return None if size < 0 else [self._reply() for _ in range(size)]
        raise ConnectionError("the other side does not speak RESP")

    def _bulk(self, size: int) -> bytes:
        data = self._reader.read(size + 2)
        if len(data) != size + 2:
            raise ConnectionResetError("the server closed the connection")
        return data[:-2]


def dial_unix(path: Path, timeout_s: float) -> Wire:
    """A wire to a unix socket. Raises OSError; BlockingIOError when its queue of connections is full."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return Wire(connection)


def dial(url: str, timeout_s: float) -> Wire:
    """A wire to a redis://, rediss:// or unix:// URL, authenticated. Raises OSError and `ErrorReply`."""
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
        import ssl  # only who uses TLS pays for it

        try:
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise
    return Wire(connection)
