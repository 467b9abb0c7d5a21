"""The doctor looks at everything, also where the store, which all else needs, cannot be had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import StoreServer
from tests.runtime.acting import Node


@pytest.fixture
def server() -> Iterator[StoreServer]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    yield server
    server.close()


def looked(node: Node, code: int) -> dict[str, dict[str, Any]]:
    done = node.run("doctor")
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr == ""
    return {row["check"]: row for row in json.loads(done.stdout)}


def everything_else_was_looked_at(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["home"]["status"] == rows["agent shell"]["status"] == "ok"
    assert {"maestro", "workspace root", "agent kilo", "limits", "isolation bubblewrap"} <= rows.keys()


@pytest.mark.parametrize("daemon", [False, True])
def test_a_store_that_is_away_is_one_finding_among_all_others(
    tmp_path: Path, server: StoreServer, daemon: bool
) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        if daemon:
            node.up()
        server.stop()
        rows = looked(node, 5)
        assert rows["store"]["status"] == "failed"
        assert "cannot be reached" in rows["store"]["detail"]
        assert rows["store"]["remedy"] == "start it, or correct MAESTRO_REDIS_URL"
        assert "log" not in rows
        assert "restore" not in rows, "the store's error is told once"
        assert rows["monitor"]["detail"] == "not known: the store alone could tell"
        everything_else_was_looked_at(rows)
        server.start()
        assert looked(node, 0)["log"]["status"] == "ok"


def test_a_store_that_is_unsafe_is_told_with_what_is_right_about_it(tmp_path: Path, server: StoreServer) -> None:
    with Node(tmp_path, MAESTRO_REDIS_URL=server.url) as node:
        with redis.Redis(unix_socket_path=str(server.socket)) as raw:
            raw.config_set("maxmemory-policy", "allkeys-lru")
            rows = looked(node, 5)
            raw.config_set("maxmemory-policy", "noeviction")
        assert rows["store eviction"]["status"] == "failed"
        assert rows["store eviction"]["remedy"] == "CONFIG SET maxmemory-policy noeviction"
        assert rows["store role"]["status"] == "ok"
        everything_else_was_looked_at(rows)


def test_without_a_store_all_other_commands_are_refused(tmp_path: Path) -> None:
    node = Node(tmp_path, MAESTRO_REDIS_URL=f"unix://{tmp_path}/nobody")
    for words in (("agent", "list"), ("doctor", "--accept-loss"), ("redis", "flush", "--confirm", node.namespace)):
        done = node.run(*words)
        assert (done.returncode, done.stdout) == (5, ""), words
        assert "the store cannot be reached" in done.stderr
