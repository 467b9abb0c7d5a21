"""Benchmark of what an event takes in the memory of the store, part by part: the events of real tasks, as a daemon
wrote them on the embedded store, again and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import redis

from maestro.runtime.protocol import messages as p
from tools.bench.measure import Case
from tools.bench.run_cases import ask
from tools.place import Home, Place

TASKS = 20
COPIES = 200
LOG = "maestro:{default}:log"
VERSIONS = "maestro:{default}:versions"
COPY = "bench:copy"
KINDS = (b"task.", b"run.", b"state.")
IDS = ("task", "run", "key")
"""Fields of the data that say again what the subject says."""

Entries = list[dict[bytes, bytes]]


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """What a block of the stream adds to the values of its entries; and, without a bar, the share of each part."""
    home = Home(place, f"size-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync)
    home.define("sleeper")
    home.run("up")
    client = redis.Redis(unix_socket_path=str(home.path / "store" / "store.sock"))
    try:
        workspace = str(place.path / "builder")
        home.run("agent", "assign", "sleeper", "--name", "builder", "--to-workspace", workspace)
        for number in range(TASKS):
            ask(home, p.TaskDispatch(prompt=f"echo {number} passed", to=["builder"], sync=True))
        told: Any = client.xrange(LOG)
        entries: Entries = [entry for _, entry in told if entry[b"type"].startswith(KINDS)]
        parts = parts_of(entries)
        bare = sum(parts.values())
        stream = copied(client, entries)
        versions = memory_of(client, VERSIONS) / len(told)
        yield _case("an event of a task, in the stream", fsync, stream, "the bytes of its values", bare, 1.15)
        yield _case("its part of the versions of subjects", fsync, versions, "an event in the stream", stream, 0.25)
        ids = said_again(entries)
        whole = "the bytes of all its values"
        for name, size in (*sorted(parts.items(), key=lambda part: -part[1]), ("ids in data, which subject has", ids)):
            yield _case(f"of its values: {name}", fsync, size, whole, bare, None)
    finally:
        client.close()
        home.run("shutdown", "--grace-period", "1", check=False)


def parts_of(entries: Entries) -> dict[str, float]:
    """The bytes of each field of an entry, on average."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        for name, value in entry.items():
            sizes[name.decode()] += len(value)
    return {name: size / len(entries) for name, size in sizes.items()}


def said_again(entries: Entries) -> float:
    """The bytes of an entry's data that hold the subject once more, on average: for who reads the data alone."""
    count = 0
    for entry in entries:
        subject = entry[b"subject"].partition(b":")[2]
        for name in IDS:
            for value in {subject, subject.partition(b"-")[0]}:
                said = b'"%s":"%s",' % (name.encode(), value)
                count += len(said) if said in entry[b"data"] else 0
    return count / len(entries)


def copied(client: redis.Redis, entries: Entries) -> float:
    """The bytes that an entry takes in a stream of many such entries, with blocks as this server makes them."""
    client.delete(COPY)
    for number in range(COPIES):
        with client.pipeline(transaction=False) as pipe:
            for index, entry in enumerate(entries):
                values: Any = entry
                pipe.xadd(COPY, values, id=f"{number * len(entries) + index + 1}-0")
            pipe.execute()
    return memory_of(client, COPY) / (COPIES * len(entries))


def memory_of(client: redis.Redis, key: str) -> float:
    """The bytes that a key takes, all of its values counted."""
    found: Any = client.memory_usage(key, samples=0)
    return float(found)


def _case(name: str, fsync: str, size: float, against: str, other: float, bar: float | None) -> Case:
    given = partial(float, size)
    return Case(
        name, fsync, "bytes", more=False, bar=bar, ours=given, reference_name=against, reference=partial(float, other)
    )
