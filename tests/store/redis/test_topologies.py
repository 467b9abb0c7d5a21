"""Replicas and Sentinel: the primary is found. (Clusters: `test_failovers.py`, as setting one up takes long.)"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro.model.errors import Invalid, StoreAway
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.keys import Keys
from maestro.store.redis import log
from maestro.store.redis.connection import Connection
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore, open_redis

Appending = Callable[..., Append]
Opening = Callable[..., RedisStore]
PATIENCE_S = 30


def free_port(below: int = 65536) -> int:
    """A port on loopback that nobody uses now."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            if (port := int(found.getsockname()[1])) < below:
                return port


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def told(link: Connection, section: str) -> bytes:
    return bytes(link.call("INFO", section))


def test_an_append_is_on_a_replica_when_it_is_answered(
    start_server: Callable[..., Any],
    open_at: Opening,
    an_append: Appending,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "WAIT_MS", 10_000)
    primary, replica = (start_server("--repl-diskless-sync-delay", "0", port=free_port()) for _ in range(2))
    on_replica = Dialler(replica.url, 5)()
    on_replica.call("REPLICAOF", "127.0.0.1", primary.port)
    until(lambda: b"master_link_status:up" in told(on_replica, "replication"))
    until(lambda: b"state=online" in told(Dialler(primary.url, 5)(), "replication"))
    store = open_at(primary.url)
    for n in range(20):
        store.log.commit([an_append("a", str(n))], None)
        assert on_replica.call("XLEN", Keys(namespace).log) == n + 1
    replica.kill()
    monkeypatch.undo()
    assert store.log.commit([an_append("a", "alone")], None)[0].first == 21  # type: ignore[union-attr]


@pytest.fixture
def start_sentinel(tmp_path: Path) -> Iterator[Callable[[Any], int]]:
    """start_sentinel(primary) watches it as `main`; gives its port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(primary: Any) -> int:
        port = free_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        with (tmp_path / "log").open("ab") as log:
            running.append(subprocess.Popen([primary.binary, str(config), "--sentinel"], stdout=log, stderr=log))
        return port

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_the_primary_is_found_again_after_a_failover(
    start_server: Callable[..., Any],
    start_sentinel: Callable[[Any], int],
    open_at: Opening,
    an_append: Appending,
) -> None:
    primary, replica = (start_server("--repl-diskless-sync-delay", "0", port=free_port()) for _ in range(2))
    on_replica = Dialler(replica.url, 5)()
    on_replica.call("REPLICAOF", "127.0.0.1", primary.port)
    until(lambda: b"master_link_status:up" in told(on_replica, "replication"))
    url = f"redis+sentinel://127.0.0.1:{start_sentinel(primary)}/main"

    def opens() -> bool:
        try:
            open_redis(url, "ready", 2).close()
        except StoreAway:
            return False
        return True

    until(opens)
    store = open_at(url)

    async def main() -> list[Any]:
        async with Gateway(store) as gateway:
            results = [await gateway.append(an_append("a", "1", 0))]
            until(lambda: on_replica.call("XLEN", Keys(store.namespace).log) == 1)
            primary.kill()
            results.append(await gateway.append(an_append("a", "2", 1)))
        return results

    assert [result.first for result in trio.run(main)] == [1, 2]
    assert b"role:master" in told(Dialler(replica.url, 5)(), "replication")


def test_a_sentinel_that_is_away_or_names_no_service_is_told() -> None:
    with pytest.raises(StoreAway):
        open_redis(f"redis+sentinel://127.0.0.1:{free_port()}/main", "default", 1)
    with pytest.raises(Invalid, match="service"):
        open_redis("redis+sentinel://127.0.0.1:1", "default", 1)
