"""The store of a namespace on a server: its log, work streams, views and blobs over one connection pool."""

from __future__ import annotations

from maestro.store.keys import Keys
from maestro.store.redis import safety
from maestro.store.redis.blobs import RedisBlobs
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.lineage import Lineage
from maestro.store.redis.log import RedisLog
from maestro.store.redis.pool import ConnectionPool
from maestro.store.redis.views import RedisViews
from maestro.store.redis.work import RedisWork
from maestro.store.sealed import Sealed

TIMEOUT_S = 4.0
"""How long a reply may take, so that a command learns within 5 s that its store has gone silent."""


class RedisStore:
    """`Store` on a server. Open it with `open_redis`."""

    cooperative = True

    def __init__(self, namespace: str, dial: Dialler) -> None:
        self.namespace = namespace
        self.place = dial.place
        self._keys = Keys(namespace)
        self._lineage = Lineage(self._keys)
        self._pool = ConnectionPool(dial, self._lineage.greet)
        self.log = RedisLog(self._keys, self._pool, self._lineage)
        self.work = RedisWork(self._keys, self._pool)
        self.views = RedisViews(self._keys, self._pool)
        self.blobs = RedisBlobs(self._keys, self._pool)

    def attach(self, sealed: Sealed) -> None:
        """Read trimmed events, and blobs that only those name, from `sealed`."""
        self.log.sealed = self.blobs.sealed = sealed

    def now(self) -> int:
        """Server time, ms."""
        seconds, micros = self._pool.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def describe(self) -> dict[str, str]:
        """The server's facts, as `safety.checks` reads them (INFO's names, with `appendfsync` and `access`).

        `place` is the URL without credentials.
        """
        return {**safety.gather(self._pool.call, self.namespace), "place": self.place}

    def erase(self) -> int:
        """DANGER: delete every key of this namespace; returns how many."""
        erased = 0
        for found in self._pool.scan(self._keys.log, self._keys.everything, 1000):
            erased += self._pool.call("UNLINK", *found)
        self._lineage.forget()
        return erased

    def memory_bytes(self) -> int:
        """Bytes of memory that the server uses."""
        return int(self._pool.call("INFO", "memory").partition(b"used_memory:")[2].split()[0])

    def close(self) -> None:
        """End blocking calls and close all connections."""
        self._pool.close()


def open_redis(url: str, namespace: str, timeout_s: float = TIMEOUT_S) -> RedisStore:
    """Open the store of a namespace at a URL.

    timeout_s: how long a reply may take. Raises `Invalid` (URL, namespace), `StoreAway`, `StoreUnsafe`.
    """
    store = RedisStore(namespace, Dialler(url, timeout_s))
    store.now()
    return store
