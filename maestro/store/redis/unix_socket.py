"""Connecting to a server over a socket of this host, without redis-py."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit


class Login(NamedTuple):
    """User, password and database of a connection; user and password are None where the URL names none."""

    user: str | None
    password: str | None
    database: int


class Dialled(NamedTuple):
    """A connected socket, and the function that closes it."""

    sock: socket.socket
    close: Callable[[], object]


class UnixSocket:
    """A unix socket of this host: unix://[user:password@]/path[?db=N&username=…&password=…], as redis-py reads it."""

    def __init__(self, url: str, greet_s: float) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        user, password = parts.username or query.get("username"), parts.password or query.get("password")
        self.login = Login(unquote(user) if user else None, unquote(password) if password else None, _number(query))
        self._path = unquote(parts.path)
        self._greet_s = greet_s

    def connect(self, node: str = "") -> Dialled:
        """Connect the socket. Raises OSError with the reason."""
        if node:
            raise ConnectionError(f"the namespace lives at {node}, another node of the cluster: name that in the URL")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self._greet_s)
        try:
            sock.connect(self._path)
        except TimeoutError:
            sock.close()
            raise ConnectionError(f"Timeout connecting to {self._path}") from None
        except OSError as error:
            sock.close()
            raise ConnectionError(f"Error {error.errno} connecting to {self._path}. {error.strerror}") from error
        return Dialled(sock, sock.close)


def _number(query: dict[str, str]) -> int:
    return int(query.get("db") or 0)
