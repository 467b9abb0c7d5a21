"""Opening the store of a namespace at a URL: dial, check, compose.

URLs: redis://, rediss:// (TLS), unix://, and redis+sentinel://[user:password@]host:port[,host:port...]/service[/db]
(rediss+sentinel:// for TLS to the primary). A cluster is reached by any of its nodes: a namespace lives on one of
them, and its MOVED says which.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from maestro.model.errors import Invalid, StoreAway
from maestro.store.keys import Keys
from maestro.store.redis import safety
from maestro.store.redis.blobs import RedisBlobs
from maestro.store.redis.connection import Link, Lost
from maestro.store.redis.lineage import Lineage
from maestro.store.redis.log import RedisLog
from maestro.store.redis.pool import Links
from maestro.store.redis.views import RedisViews
from maestro.store.redis.work import RedisWork
from maestro.store.sealed import Sealed

TIMEOUT_S = 4.0
"""How long a reply may take: a command whose store has gone silent is told so within 5 s."""
GREET_S = 2.5
"""How long a new connection may take, and each reply while it is greeted."""
AWAY_MEND = "start it, or correct MAESTRO_REDIS_URL"
MEND = "use redis://, rediss://, unix:// or redis+sentinel://"


class Dialler:
    """Connects to what a URL names, each time anew (a Sentinel is asked again). Raises `Invalid` for a bad URL."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # Nothing is repeated behind our back: redis-py made three copies of an entry when replies were dropped.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": min(GREET_S, timeout_s),
            "socket_connect_timeout": min(GREET_S, timeout_s),
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
        for limit in ("socket_timeout", "socket_connect_timeout"):  # one after the other is asked
            plain[limit] = max(0.5, plain[limit] / len(sentinels))
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
            there = {"host": host, "port": int(port)} if node else {}
            # Not by the pool's own `make_connection`, which gives out a hundred in its life, whatever became of them.
            dialled = pool.connection_class(**{**pool.connection_kwargs, **there})
            dialled.connect()
        except MasterNotFoundError as error:  # its text is a dump of objects
            raise self._away("no sentinel that answers knows this service") from error
        except (RedisError, OSError) as error:
            raise self._away(str(error)) from error
        link = Link(dialled, self._timeout_s)
        try:
            link.greet(self._login["username"], self._login["password"], int(self._login["db"] or 0), GREET_S)
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
