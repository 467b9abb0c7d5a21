"""Logs that are kept in files, in ranges so short that a small log has many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from maestro.store.redis.redis_store import open_redis
from projections.projector import Projector
from replayers import ranges
from replayers.sealed import Segments
from tests.projections.histories import commit, grow


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 40 events, and of 10 at the end of a checkpoint."""
    monkeypatch.setattr(ranges, "LARGE", 40)
    monkeypatch.setattr(ranges, "SMALL", 10)


@pytest.fixture
def past(store: Store, short_ranges: None) -> Store:
    """A store with a long past: restores in it, blobs that are there, and its views."""
    for _ in grow(store, Random(11), 120, restores=True):
        pass
    for number in range(3):
        blob = e.BlobRef(store.blobs.put(f"a long text {number}".encode() * 100), 1300)
        commit(store, NewEvent(f"state:long{number}", e.StateSet(f"long{number}", blob)))
    Projector(store).catch_up()
    return store


@pytest.fixture
def open_empty(kind: str, shared_server: Callable[[str], Any], namespace: str) -> Iterator[Callable[[], Store]]:
    """Opens an empty namespace on a store of the same kind."""
    stores: list[Store] = []

    def open_one() -> Store:
        name = f"{namespace}-empty{len(stores)}"
        stores.append(MemoryStore(name) if kind == "memory" else open_redis(shared_server(kind).url, name))
        return stores[-1]

    yield open_one
    for store in stores:
        store.erase()
        store.close()


@pytest.fixture
def sealed(tmp_path: Path, namespace: str) -> Segments:
    """Where the past of the store may be sealed."""
    return Segments(tmp_path / "segments", namespace)
