"""A node whose shared archive is a bucket behind a proxy that stalls: nothing waits, and a kill leaves all whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import StoreServer
from tests.object_stores import BUCKET, TcpProxy, environment, object_store
from tests.runtime.acting import Node, until

MAESTRO = (sys.executable, "-m", "maestro")


class Ground(NamedTuple):
    """Two nodes that share a bucket, with an agent on the first; the proxy before the bucket."""

    a: Node
    b: Node
    proxy: TcpProxy
    top: Path


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Ground]:
    top = tmp_path_factory.mktemp("bucket")
    with object_store("moto") as port:
        proxy = TcpProxy(port)
        env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": "bucket"}
        env |= {"MAESTRO_ARCHIVE_URL": f"s3://{BUCKET}/maestro", **environment(proxy.port)}
        with Node(top / "a", **env) as a, Node(top / "b", **env) as b:
            a.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(top / "ann"))
            b.up()
            yield Ground(a, b, proxy, top)
            proxy.flow()
        proxy.close()


def taking(node: Node) -> dict[str, Any] | None:
    rows = node.json("state", "snapshots", "--all")
    return next((row for row in rows if row["state"] == "taking"), None)


def test_while_the_object_store_stalls_work_goes_on_and_a_kill_in_the_middle_leaves_one_whole_snapshot(
    ground: Ground,
) -> None:
    (ground.top / "ann" / "file").write_bytes(os.urandom(3 << 20))
    first = ground.a.json("state", "snapshot")
    assert ground.b.json("state", "verify", first["id"])["ok"]
    (ground.top / "ann" / "file").write_bytes(os.urandom(3 << 20))
    asked = subprocess.Popen(
        [*MAESTRO, "state", "snapshot"], env=ground.a.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    passed = ground.proxy.passed
    until(lambda: ground.proxy.passed > passed + (1 << 20))
    ground.proxy.stall()
    row = until(lambda: taking(ground.a))
    for _ in range(3):
        assert ground.a.dispatch("echo on", "--to", "ann", "--sync")["status"] == "completed"
    assert {each["status"] for each in ground.a.json("node", "list")} == {"up"}
    assert asked.poll() is None
    ground.a.kill()
    asked.communicate(timeout=60)
    ground.proxy.flow()
    ground.a.up()
    found = until(lambda: [each for each in ground.a.json("state", "snapshots") if each["id"] == row["id"]])
    assert found[0]["state"] == "complete"
    assert ground.b.json("state", "verify", row["id"])["ok"]


def test_credentials_are_in_no_event_and_in_no_log(ground: Ground) -> None:
    """The secret and the key have the same text here."""
    secret = ground.a.env["AWS_SECRET_ACCESS_KEY"]
    assert secret not in json.dumps([str(event.fact) for event in ground.a.events()])
    assert secret not in (ground.a.home / "daemon.log").read_text()
    assert secret not in ground.a.run("config", "show").stdout


def test_a_store_that_does_not_answer_fails_the_snapshot_before_anything_is_paused(ground: Ground) -> None:
    ground.proxy.stall()
    done = ground.a.run("state", "snapshot", timeout=120)
    ground.proxy.flow()
    assert done.returncode == 4 and f"s3://{BUCKET}/maestro" in done.stderr
    assert "does not answer" in done.stderr
