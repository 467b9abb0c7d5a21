"""Benchmark of appends: in groups of 100, and one in flight, against the same entries by plain XADD."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from shutil import which
from typing import Any

import redis

from maestro.model.events import NewEvent, StateSet
from maestro.store.contract import Append, Committed, Store
from maestro.store.redis.redis_store import open_redis
from tools.bench.measure import Case, timed
from tools.place import Place, Server

GROUP = 100
GROUPS = 100
SINGLES = 2000
VALUE = "x" * 100
REFERENCE_KEY = "bench:reference"


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """Both cases on one server; redis-benchmark is the reference for groups where it is installed.

    The bars apply to everysec only; with always the disk decides, and the result is only reported.
    """
    with Server(place, fsync, f"append-{fsync}") as server:
        store = open_redis(server.url, "bench")
        client = redis.Redis(unix_socket_path=str(server.socket))
        try:
            fields = sample(store, client)
            fresh = itertools.count()
            if which("redis-benchmark"):
                name, reference = "redis-benchmark XADD -c 1 -P 100", lambda: benchmarked(server, fields)
            else:
                name, reference = (
                    "redis-py pipeline of 100 XADD (no redis-benchmark here)",
                    lambda: piped(client, fields),
                )
            yield Case(
                "append, groups of 100, all checks",
                fsync,
                "events/s",
                more=True,
                bar=0.4 if fsync == "everysec" else None,
                ours=lambda: grouped(store, fresh),
                reference_name=name,
                reference=reference,
            )
            yield Case(
                "append, one in flight",
                fsync,
                "events/s",
                more=True,
                bar=0.8 if fsync == "everysec" else None,
                ours=lambda: one_by_one(store, fresh),
                reference_name="redis-py XADD, same fields",
                reference=lambda: plain(client, fields),
            )
        finally:
            client.close()
            store.close()


def appends(fresh: Iterator[int], count: int) -> list[Append]:
    """Appends of one event each, to subjects without events. fresh: yields unused numbers."""
    facts = [StateSet(f"k{number:012d}", VALUE) for number in itertools.islice(fresh, count)]
    return [Append((NewEvent(f"state:{fact.key}", fact, 0),), "bench", f"cmd:{fact.key}") for fact in facts]


def sample(store: Store, client: redis.Redis) -> dict[bytes, bytes]:
    """The fields of an entry as the log stores it, for the reference to write too."""
    store.log.commit(appends(iter([10**9]), 1), None)
    entries: Any = client.xrevrange("maestro:{bench}:log", count=1)
    return dict(entries[0][1])


def grouped(store: Store, fresh: Iterator[int]) -> float:
    """Events per second with one round trip for each hundred."""
    groups = [appends(fresh, GROUP) for _ in range(GROUPS)]

    def write() -> None:
        for group in groups:
            check(store.log.commit(group, store.log.known()))

    return GROUP * GROUPS / timed(write)


def one_by_one(store: Store, fresh: Iterator[int]) -> float:
    """Events per second, each sent when the one before is acknowledged."""
    singles = [[append] for append in appends(fresh, SINGLES)]

    def write() -> None:
        for single in singles:
            check(store.log.commit(single, store.log.known()))

    return SINGLES / timed(write)


def check(results: Sequence[object]) -> None:
    """Check that all was appended: a benchmark that appends nothing would be fast."""
    assert all(isinstance(result, Committed) and not result.duplicate for result in results)


def plain(client: redis.Redis, fields: dict[bytes, bytes]) -> float:
    """Events per second with redis-py's xadd."""
    client.delete(REFERENCE_KEY)
    payload: Any = fields

    def write() -> None:
        for _ in range(SINGLES):
            client.xadd(REFERENCE_KEY, payload)

    return SINGLES / timed(write)


def piped(client: redis.Redis, fields: dict[bytes, bytes]) -> float:
    """Events per second with redis-py's pipeline."""
    client.delete(REFERENCE_KEY)
    payload: Any = fields

    def write() -> None:
        for _ in range(GROUPS):
            with client.pipeline(transaction=False) as pipe:
                for _ in range(GROUP):
                    pipe.xadd(REFERENCE_KEY, payload)
                pipe.execute()

    return GROUP * GROUPS / timed(write)


def benchmarked(server: Server, fields: dict[bytes, bytes]) -> float:
    """Requests per second reported by redis-benchmark, for one client with a pipeline of 100."""
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        client.delete(REFERENCE_KEY)
    flat = [part.decode() for pair in fields.items() for part in pair]
    argv = ["redis-benchmark", "-s", str(server.socket), "-n", str(10 * GROUP * GROUPS), "-P", str(GROUP), "-c", "1"]
    argv += ["--csv", "XADD", REFERENCE_KEY, "*", *flat]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    return float(told.split('","')[-7])  # the test's name may contain any character, the seven figures behind it do not
