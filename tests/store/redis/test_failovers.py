"""A failover in the middle of 500 dispatches: what was acknowledged is there once, or the log is refused as another."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro.model.errors import LineageBroken, MaestroError, StoreAway
from maestro.model.events import NewEvent, TaskDispatched
from maestro.store.contract import Append, Checkpoint, Committed, Hint, RowChange
from maestro.store.gateway import Gateway
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore, open_redis
from tests.conftest import StoreServer
from tests.store.redis.test_topologies import free_port, told, until

DISPATCHES, CLIENTS = 500, 10
IN_STEP = "--repl-diskless-sync-delay", "0"


def in_step(primary: StoreServer) -> None:
    until(lambda: b"state=online" in told(Dialler(primary.url, 5)(), "replication"))


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Callable[[StoreServer], str]]:
    """sentinel(primary) watches it; gives the URL of its service."""
    with ExitStack() as stack:

        def start(primary: StoreServer) -> str:
            port = free_port()
            config = tmp_path / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
                "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
            )
            log = stack.enter_context((tmp_path / "log").open("ab"))
            process = subprocess.Popen([primary.binary, str(config), "--sentinel"], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return f"redis+sentinel://127.0.0.1:{port}/main"

        yield start


def opens(url: str) -> bool:
    try:
        open_redis(url, "ready", 2).close()
    except StoreAway:
        return False
    return True


def dispatched(store: RedisStore, strike: Callable[[], None]) -> tuple[set[str], MaestroError | None]:
    """Dispatch with a strike in the middle; the tasks that were acknowledged, and why no more were."""
    acknowledged: set[str] = set()
    refused: list[MaestroError] = []

    async def main() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:

            async def client(number: int) -> None:
                for task in (f"t{number}-{n}" for n in range(DISPATCHES // CLIENTS)):
                    fact = TaskDispatched(task, "go", "go", ("w",), key=task)
                    try:
                        done = await gateway.append(Append((NewEvent(f"task:{task}", fact, 0),), "test", f"cmd:{task}"))
                    except MaestroError as error:
                        refused.append(error)
                        return
                    assert isinstance(done, Committed), done
                    acknowledged.add(task)

            async def striker() -> None:
                while len(acknowledged) < DISPATCHES // 2:
                    await trio.sleep(0.001)
                await trio.to_thread.run_sync(strike)

            nursery.start_soon(striker)
            for number in range(CLIENTS):
                nursery.start_soon(client, number)

    trio.run(main)
    return acknowledged, refused[0] if refused else None


def names(store: RedisStore) -> list[str]:
    found: list[str] = []
    seq = 0
    while events := store.log.read(seq, 1000):
        found += [event.fact.task for event in events if isinstance(event.fact, TaskDispatched)]
        seq = events[-1].seq
    return found


def check(store: RedisStore, url: str, acknowledged: set[str], refused: MaestroError | None) -> None:
    """Nothing is lost or doubled; or Maestro has stopped, and says that."""
    with_all = open_redis(url, store.namespace)
    try:
        there = names(with_all)
    finally:
        with_all.close()
    assert len(there) == len(set(there))
    if refused is None:
        assert len(acknowledged) == DISPATCHES
        assert acknowledged == set(there)
    else:  # WAIT is no quorum: the replica was not in step when the primary died
        assert isinstance(refused, LineageBroken), refused


def test_sentinels_that_promote_the_replica_lose_no_dispatch(
    start_server: Callable[..., StoreServer], sentinel: Callable[[StoreServer], str], open_at: Callable[..., RedisStore]
) -> None:
    primary, replica = (start_server(*IN_STEP, port=free_port()) for _ in range(2))
    Dialler(replica.url, 5)().call("REPLICAOF", "127.0.0.1", primary.port)
    in_step(primary)
    url = sentinel(primary)
    until(lambda: opens(url))
    store = open_at(url)
    acknowledged, refused = dispatched(store, primary.kill)
    assert b"role:master" in told(Dialler(replica.url, 5)(), "replication")
    check(store, replica.url, acknowledged, refused)


def test_a_namespace_is_found_on_whichever_node_of_a_cluster_and_its_failover_loses_no_dispatch(
    start_server: Callable[..., Any], open_at: Callable[..., RedisStore], an_append: Callable[..., Append]
) -> None:
    asked, owner = (start_server(*IN_STEP, "--cluster-enabled", "yes", port=free_port(55000)) for _ in range(2))
    on_owner, on_asked = Dialler(owner.url, 5)(), Dialler(asked.url, 5)()
    on_owner.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    on_owner.call("CLUSTER", "MEET", "127.0.0.1", asked.port)
    until(lambda: b"cluster_state:ok" in on_asked.call("CLUSTER", "INFO"))
    until(lambda: b"cluster_state:ok" in on_owner.call("CLUSTER", "INFO"))
    store = open_at(f"redis://127.0.0.1:{asked.port}")
    append = an_append("a", "1", 0, hints=(Hint("n", "r", 0), Hint("", "s", 0)))
    assert isinstance(store.log.commit([append], None)[0], Committed)
    assert store.log.read(0, 10)[0].seq == 1
    store.work.done(store.work.claim("n", 5, 10))
    store.views.save("1", Checkpoint(), Checkpoint(1, "c"), [RowChange("tasks", "t", b"{}", {"all": 1})])
    assert store.views.switch(None, "1")
    assert store.views.switch("1", "2")
    store.views.drop("1")
    store.blobs.collect(frozenset([store.blobs.put(b"x")]), 0)
    assert on_asked.call("DBSIZE") == 0
    assert store.erase() > 0
    assert on_owner.call("DBSIZE") == 0

    on_asked.call("CLUSTER", "REPLICATE", on_owner.call("CLUSTER", "MYID"))
    in_step(owner)

    def take_over() -> None:
        owner.kill()
        on_asked.call("CLUSTER", "FAILOVER", "TAKEOVER")

    there = f"redis://127.0.0.1:{asked.port}"
    check(store, there, *dispatched(store, take_over))
