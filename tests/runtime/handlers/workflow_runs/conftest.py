"""A store of its own for each test of runs of workflows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import StoreServer
from tests.runtime.handlers.workflow_runs.workflow_store import Place


@pytest.fixture
def place(shared_server: Callable[[str], StoreServer], namespace: str, tmp_path: Path) -> Iterator[Place]:
    home = Path(tempfile.mkdtemp(prefix="mw-", dir="/tmp"))
    place = Place(home, shared_server("valkey").url, namespace)
    with closing(place.store):
        yield place
        place.store.erase()

    shutil.rmtree(home)
