"""A node with agents that run scripts, for runs of workflows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.acting import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("flows")) as node:
        for name in ("w", "v"):
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        node.up()
        yield node


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with one slot."""
    with Node(tmp_path_factory.mktemp("narrow"), MAESTRO_MAX_CONCURRENT="1") as node:
        for name in ("w", "v"):
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        node.up()
        yield node
