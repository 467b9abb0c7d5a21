"""Opening the store of a namespace at a URL: dial, check, compose.

URLs: redis://, rediss:// (TLS), unix://, and redis+sentinel://[user:password@]host:port[,host:port...]/service[/db]
(rediss+sentinel:// for TLS to the primary). A cluster is reached by any of its nodes: a namespace lives on one of
them, and its MOVED says which.
"""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from maestro.model.errors import Invalid, MaestroError, StoreAway
from maestro.store import safety
from maestro.store.blobs import RedisBlobs
from maestro.store.keys import Keys
from maestro.store.lineage import Lineage
from maestro.store.link import Link, Lost
from maestro.store.links import Links
from maestro.store.log import RedisLog
from maestro.store.sealed import Sealed
from maestro.store.views import RedisViews
from maestro.store.work import RedisWork

TIMEOUT_S = 4.0
CONNECT_S = 2.5
MEND_AWAY = "start it, or correct MAESTRO_REDIS_URL"
MEND = "use redis://, rediss://, unix:// or redis+sentinel://"


class Dialler:
    """Connects to what a URL names, each time anew (a Sentinel is asked again). Raises `Invalid` for a bad URL."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # Nothing is repeated behind our back: redis-py made three copies of an entry when replies were dropped.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(CONNECT_S, timeout_s),
            "redis_connect_func": lambda _: None,
        }
        try:
            scheme = urlsplit(url).scheme
            if scheme in ("redis+sentinel", "rediss+sentinel"):
                self._pool = self._sentinel(url, options)
            else:
                self._pool = ConnectionPool.from_url(url, **options)
        except (ValueError, TypeError) as error:
            raise Invalid(f"the store's URL cannot be used: {error}", "MAESTRO_REDIS_URL", MEND) from error
        self._login = {key: self._pool.connection_kwargs.pop(key, None) for key in ("username", "password", "db")}
        self.place = _place(url)

    @staticmethod
    def _sentinel(url: str, options: dict[str, Any]) -> Any:
        parts = urlsplit(url)
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("it names no service (redis+sentinel://host:26379/<service>)")
        hosts = parts.netloc.rpartition("@")[2].split(",")
        sentinels = [(host, int(port or 26379)) for host, _, port in (item.rpartition(":") for item in hosts)]
        query = dict(parse_qsl(parts.query))
        known_as = {name: query[f"sentinel_{name}"] for name in ("username", "password") if f"sentinel_{name}" in query}
        plain = {key: value for key, value in options.items() if key != "redis_connect_func"}
        watchers: Any = Sentinel(sentinels, sentinel_kwargs={**plain, **known_as})  # type: ignore[no-untyped-call]
        return watchers.master_for(
            service,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            db=int(database or 0),
            ssl=parts.scheme.startswith("rediss"),
            **options,
        ).connection_pool

    def __call__(self, node: str = "") -> Link:
        """A new link, to a cluster's node where one is named. Raises `StoreAway`, `StoreUnsafe` (credentials)."""
        pool = self._pool
        try:
            host, _, port = node.rpartition(":")
            _resolve(host or pool.connection_kwargs.get("host", ""))
            there = {"host": host, "port": int(port)} if node else {}
            # Not by the pool's own `make_connection`, which gives out a hundred in its life, whatever became of them.
            dialled = pool.connection_class(**{**pool.connection_kwargs, **there})
            dialled.connect()
        except (RedisError, OSError) as error:
            raise StoreAway(f"the store cannot be reached: {error}", self.place, MEND_AWAY) from error
        link = Link(dialled, self._timeout_s)
        try:
            link.greet(self._login["username"], self._login["password"], int(self._login["db"] or 0))
        except Lost as lost:
            raise StoreAway(f"the store cannot be used: {lost.what}", self.place, lost.mend or MEND_AWAY) from lost
        except MaestroError as error:
            link.close()
            error.where = error.where or self.place
            raise
        except BaseException:
            link.close()
            raise
        return link


def _resolve(host: str) -> None:
    """Look a name up, for as long as a connection may take: the system itself may take several times that.

    Raises OSError.
    """
    if not isinstance(host, str) or not host or host == "localhost" or ":" in host or host.replace(".", "").isdigit():
        return
    found: list[OSError | None] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, None)
            found.append(None)
        except OSError as error:
            found.append(error)

    looking = Thread(target=look, daemon=True)
    looking.start()
    looking.join(CONNECT_S)
    if not found or found[0] is not None:
        raise OSError(f"{host} is not known ({found[0] if found else 'no answer'})")


def _place(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


class RedisStore:
    """`Store` on a server. Use `open_redis`."""

    carried = True

    def __init__(self, namespace: str, dial: Dialler) -> None:
        self.namespace = namespace
        self.place = dial.place
        self._keys = Keys(namespace)
        self._lineage = Lineage(self._keys)
        self._links = Links(dial, self._lineage.greet)
        self.log = RedisLog(self._keys, self._links, self._lineage)
        self.work = RedisWork(self._keys, self._links)
        self.views = RedisViews(self._keys, self._links)
        self.blobs = RedisBlobs(self._keys, self._links)

    def attach(self, sealed: Sealed) -> None:
        """Read what was trimmed from there."""
        self.log.sealed = self.blobs.sealed = sealed

    def now(self) -> int:
        """Server time, ms."""
        seconds, micros = self._links.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def describe(self) -> dict[str, str]:
        """The server's facts, as `safety.checks` reads them (INFO's own names, with `appendfsync` and `access`).

        `place` is the URL without credentials.
        """
        return {**safety.gather(self._links.call, self.namespace), "place": self.place}

    def erase(self) -> int:
        """DANGER: delete every key of this namespace; how many."""
        erased = 0
        for found in self._links.scan(self._keys.log, self._keys.everything, 1000):
            erased += self._links.call("UNLINK", *found)
        self._lineage.forget()
        return erased

    def memory_bytes(self) -> int:
        """Memory the server uses."""
        return int(self._links.call("INFO", "memory").partition(b"used_memory:")[2].split()[0])

    def close(self) -> None:
        """End blocking calls and close all connections."""
        self._links.close()


def open_redis(url: str, namespace: str, timeout_s: float = TIMEOUT_S) -> RedisStore:
    """The store of a namespace at a URL.

    timeout_s: how long a reply may take. Raises `Invalid` (URL, namespace), `StoreAway`, `StoreUnsafe`.
    """
    store = RedisStore(namespace, Dialler(url, timeout_s))
    store.now()
    return store
