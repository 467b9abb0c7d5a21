"""Dialling the server that a URL names, each time anew, up to a connection that has been greeted.

URLs: redis://, rediss:// (TLS), unix://, and redis+sentinel://[user:password@]host:port[,host:port...]/service[/db]
(rediss+sentinel:// for TLS to the primary). A cluster is reached by any of its nodes: a namespace lives on one of
them, and its MOVED says which.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from maestro.model.errors import Invalid, StoreAway
from maestro.store.redis.connection import Link, Lost
from maestro.store.redis.unix_socket import Dialled, Login, UnixSocket

GREET_S = 2.5
"""How long a new connection may take, and each reply while it is greeted."""
AWAY_MEND = "start it, or correct MAESTRO_REDIS_URL"
MEND = "use redis://, rediss://, unix:// or redis+sentinel://"


class Way(Protocol):
    """A way to a server: a socket of this host, or a network."""

    @property
    def login(self) -> Login:
        """What the server is told at the greeting."""

    def connect(self, node: str = "") -> Dialled:
        """A connected socket, to a cluster's node (host:port) where one is named. Raises OSError saying why not."""


class Dialler:
    """Connects to what a URL names, each time anew (a Sentinel is asked again). timeout_s: how long a reply may take.

    Raises `Invalid` for a bad URL.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        try:
            self._way = _way(url, min(GREET_S, timeout_s))
        except (ValueError, TypeError) as error:
            raise Invalid(f"the store's URL cannot be used: {error}", "MAESTRO_REDIS_URL", MEND) from error
        self.place = _place(url)

    def __call__(self, node: str = "") -> Link:
        """A new link, to a cluster's node where one is named. Raises `StoreAway`, `StoreUnsafe` (credentials)."""
        try:
            dialled = self._way.connect(node)
        except OSError as error:
            raise self._away(str(error)) from error
        link = Link(dialled.sock, dialled.close, self._timeout_s)
        login = self._way.login
        try:
            link.greet(login.user, login.password, login.database, GREET_S)
        except Lost as lost:  # nothing but the greeting was sent
            link.close()
            raise self._away(lost.what) from lost
        except BaseException:
            link.close()
            raise
        return link

    def _away(self, why: str) -> StoreAway:
        said = " ".join(why.replace("the store", "it", 1).split()).rstrip(".")
        return StoreAway(f"the store cannot be reached: {said or 'no answer'}", self.place, AWAY_MEND)


def _way(url: str, greet_s: float) -> Way:
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
