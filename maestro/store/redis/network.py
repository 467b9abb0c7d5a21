"""Connects to a server over a network with redis-py, which knows TLS, Sentinel and the nodes of a cluster.

Imported only for such a URL: the first import loads all of redis-py, `redis.asyncio` included, which takes longer than
the work of a command does.
"""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from maestro.store.redis.unix_socket import Dialled, Login


class Network:
    """Connects to the server that a URL names, of several nodes of a cluster to the first one that takes it.

    greet_s: how long connecting may take.

    Raises ValueError or TypeError for a bad URL.
    """

    def __init__(self, url: str, greet_s: float) -> None:
        # No retries by redis-py: it made three copies of an entry when replies were dropped.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": greet_s,
            "socket_connect_timeout": greet_s,
            "redis_connect_func": lambda _: None,
        }
        self._nodes: list[str] = []
        if urlsplit(url).scheme in ("redis+sentinel", "rediss+sentinel"):
            self._pool = self._sentinel(url, options)
        else:
            first, self._nodes = _nodes(url)
            if self._nodes:  # they are asked one after the other
                options["socket_connect_timeout"] = max(0.5, greet_s / len(self._nodes))
            self._pool = ConnectionPool.from_url(first, **options)
        login = {key: self._pool.connection_kwargs.pop(key, None) for key in ("username", "password", "db")}
        self.login = Login(login["username"], login["password"], int(login["db"] or 0))

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
        for limit in ("socket_timeout", "socket_connect_timeout"):  # the sentinels are asked one after the other
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

    def connect(self, node: str = "") -> Dialled:
        """Connect a socket, to a cluster's node (host:port) where one is named. Raises OSError with the reason."""
        failure: OSError | None = None
        for each in [node] if node else list(self._nodes or [""]):
            try:
                dialled = self._connect(each)
            except OSError as error:
                failure = error
                continue
            if each in self._nodes:  # the next time begin with one that was there
                self._nodes = [each, *(other for other in self._nodes if other != each)]
            return dialled
        assert failure is not None
        raise failure

    def _connect(self, node: str) -> Dialled:
        pool = self._pool
        host, _, port = node.rpartition(":")
        there = {"host": host.strip("[]"), "port": int(port)} if node else {}
        try:
            # Not by redis-py's `make_connection`, which makes a hundred connections in its life, even if they were
            # closed.
            dialled = pool.connection_class(**{**pool.connection_kwargs, **there})
            dialled.connect()
        except MasterNotFoundError as error:  # the text of this error is a dump of objects
            raise ConnectionError("no sentinel that answers knows this service") from error
        except RedisError as error:
            raise ConnectionError(str(error)) from error
        sock: socket.socket = dialled._sock
        return Dialled(sock, dialled.disconnect)


def _nodes(url: str) -> tuple[str, list[str]]:
    """The URL with its first node alone; and all of them as host:port, where it names several."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    named = hosts.split(",")
    if len(named) == 1:
        return url, []
    nodes = [each if re.search(r":[0-9]+$", each) and not each.endswith("]") else f"{each}:6379" for each in named]
    return parts._replace(netloc=f"{login}{at}{nodes[0]}").geturl(), nodes
