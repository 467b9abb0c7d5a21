"""A node on a store of its own, for the tests that put either of them to the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    """A store that has each event on its disk before it says so."""
    server = StoreServer("valkey", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Node]:
    """A node on that store, with three agents."""
    with Node(tmp_path_factory.mktemp("faults"), MAESTRO_REDIS_URL=server.url) as place:
        place.agent_type("worker")
        for name in ("w1", "w2", "w3"):
            place.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{place.folder}/{name}")
        yield place
