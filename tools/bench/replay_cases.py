"""Benchmark of replay: read, decode and fold all views, against redis-py's XRANGE and a plain decode of the data."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import msgspec
import redis

from maestro.store.contract import Append, Committed, Store
from maestro.store.redis.redis_store import RedisStore, open_redis
from projections.fold import Fold
from replayers.log_reader import history
from tools.bench.history import EVENTS_PER_TASK, agents, finished_tasks
from tools.bench.measure import Case, timed
from tools.place import Place, Server

TASKS = 20_000
AT_A_TIME = 1000
GROUP = 100


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """One case over a log of TASKS finished tasks."""
    with Server(place, fsync, "replay") as server:
        store = open_redis(server.url, "bench")
        client = redis.Redis(unix_socket_path=str(server.socket))
        try:
            write(store, TASKS)
            yield Case(
                f"replay of {store.log.head().seq:,} events: read, decode, fold all views",
                fsync,
                "events/s",
                more=True,
                bar=1.5,
                ours=lambda: replayed(store),
                reference_name=f"redis-py XRANGE {AT_A_TIME} and msgspec decode",
                reference=lambda: decoded(client),
            )
        finally:
            client.close()
            store.close()


def write(store: Store, tasks: int) -> None:
    """Append the agents and this many finished tasks, in groups."""
    commit(store, [agents()])
    group: list[Append] = []
    for append in finished_tasks(1, tasks):
        group.append(append)
        if len(group) == GROUP:
            commit(store, group)
            group.clear()
    commit(store, group)


def commit(store: Store, group: list[Append]) -> None:
    """Append a group, and check that all of it was appended."""
    if group:
        assert all(isinstance(result, Committed) for result in store.log.commit(group, None))


def replayed(store: RedisStore) -> float:
    """Events per second through the reader and the fold that every replayer uses."""
    fold = Fold()

    def replay() -> None:
        for events in history(store):
            fold.apply(events)

    gc.collect()
    took = timed(replay)
    assert len(fold.rows["tasks"]) * EVENTS_PER_TASK < fold.seq
    return fold.seq / took


def decoded(client: redis.Redis) -> float:
    """Events per second through redis-py, with the data decoded and nothing else."""
    count = 0
    decode = msgspec.json.Decoder().decode

    def read() -> None:
        nonlocal count
        after = "-"
        while True:
            entries: Any = client.xrange("maestro:{bench}:log", min=after, count=AT_A_TIME)
            if not entries:
                return
            for _, fields in entries:
                decode(fields[b"data"])
            count += len(entries)
            after = f"({entries[-1][0].decode()}"

    gc.collect()
    took = timed(read)
    return count / took
