"""Opens connections to the server that a URL names, up to the greeting.

URLs: redis://, rediss:// (TLS), unix://, and redis+sentinel://[user:password@]host:port[,host:port...]/service[/db]
(rediss+sentinel:// for TLS to the primary). A cluster is reached through any of its nodes: a namespace lives on one of
them, and the MOVED reply says which.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from maestro.model.errors import Invalid, StoreAway
from maestro.store.redis.connection import Connection, ReplyLost
from maestro.store.redis.unix_socket import Dialled, Login, UnixSocket

GREET_S = 2.5
"""How long connecting may take, and each reply during the greeting."""
AWAY_MEND = "start it, or correct MAESTRO_REDIS_URL"
MEND = "use redis://, rediss://, unix:// or redis+sentinel://"


class Transport(Protocol):
    """How a server is reached: through a unix socket of this host, or over a network."""

    @property
    def login(self) -> Login:
        """The credentials and database sent in the greeting."""

    def connect(self, node: str = "") -> Dialled:
        """Connect a socket, to a cluster's node (host:port) where one is named. Raises OSError with the reason."""


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
