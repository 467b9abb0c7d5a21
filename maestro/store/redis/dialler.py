"""Opens connections to the server that a URL names, up to the greeting.

URLs: redis://, rediss:// (TLS), unix://, and redis+sentinel://[user:password@]host:port[,host:port...]/service[/db]
(rediss+sentinel:// for TLS to the primary). A cluster is reached through any of its nodes: a namespace lives on one of
them, and the MOVED reply says which.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from maestro.model.errors import Invalid, StoreAway
from maestro.store.redis.connection import Connection, ReplyLost

GREET_S = 2.5
"""How long connecting may take, and each reply during the greeting."""
AWAY_MEND = "start it, or correct MAESTRO_REDIS_URL"
MEND = "use redis://, rediss://, unix:// or redis+sentinel://"


class Login(NamedTuple):
    """User, password and database of a connection; user and password are None where the URL names none."""

    user: str | None
    password: str | None
    database: int


class Dialled(NamedTuple):
    """A connected socket, and the function that closes it."""

    sock: socket.socket
    close: Callable[[], object]


class Transport(Protocol):
    """How a server is reached: through a unix socket of this host, or over a network."""

    @property
    def login(self) -> Login:
        """The credentials and database sent in the greeting."""

    def connect(self, node: str = "") -> Dialled:
        """Connect a socket, to a cluster's node (host:port) where one is named. Raises OSError with the reason."""


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


class Dialler:
    """Opens connections to the server that a URL names, resolved each time (a Sentinel is asked again).

    timeout_s: how long a reply may take. Raises `Invalid` for a bad URL.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        try:
            self._transport = _transport(url, min(GREET_S, timeout_s))
        except (ValueError, TypeError) as error:
            raise Invalid(f"the store's URL cannot be used: {error}", "MAESTRO_REDIS_URL", MEND) from error
        self.place = _place(url)

    def __call__(self, node: str = "") -> Connection:
        """Open a connection, to a cluster's node where one is named.

        Raises `StoreAway`, or `StoreUnsafe` for wrong credentials.
        """
        try:
            dialled = self._transport.connect(node)
        except OSError as error:
            raise self._away(str(error)) from error
        connection = Connection(dialled.sock, dialled.close, self._timeout_s)
        login = self._transport.login
        try:
            connection.greet(login.user, login.password, login.database, GREET_S)
        except ReplyLost as lost:  # only the greeting was sent, so no command is in doubt
            connection.close()
            raise self._away(lost.what) from lost
        except BaseException:
            connection.close()
            raise
        return connection

    def _away(self, why: str) -> StoreAway:
        said = " ".join(why.replace("the store", "it", 1).split()).rstrip(".")
        return StoreAway(f"the store cannot be reached: {said or 'no answer'}", self.place, AWAY_MEND)


def _transport(url: str, greet_s: float) -> Transport:
    parts = urlsplit(url)
    if parts.scheme == "unix" and {name for name, _ in parse_qsl(parts.query)} <= {"db", "username", "password"}:
        return UnixSocket(url, greet_s)
    from maestro.store.redis.network import Network

    return Network(url, greet_s)


def _place(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
