"""Commands in situations that people get into: what they answer, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("odd")) as node:
        node.json("agent", "assign", "shell", "--name", "w", "--to-workspace", f"{node.folder}/w")
        yield node


def test_a_task_that_has_finished_is_so_whatever_the_timeout(node: Node) -> None:
    task = node.dispatch("true", "--to", "w", "--sync")["id"]
    for _ in range(5):
        assert node.run("task", "wait", task, "--timeout", "0").returncode == 0
    slow = node.dispatch("sleep 60", "--to", "w")["id"]
    assert node.run("task", "wait", slow, "--timeout", "0").returncode == 124
    assert node.run("task", "wait", task, slow, "--timeout", "0").returncode == 124
    node.json("task", "cancel", slow)


def test_what_is_not_there_is_told_with_3(node: Node) -> None:
    node.json("state", "snapshot")
    node.json("state", "restore", "latest")  # every subject has a version since then
    assert node.run("task", "dispatch", "true", "--to", "w", "--depends-on", "nothing").returncode == 3
    for subject in ("task:nothing", "nothing", "agent:nothing"):
        assert node.run("audit", subject).returncode == 3
    assert node.json("audit", "agent:w")
    assert node.json("audit", "agent:w", "--type", "log") == []


def test_an_empty_or_odd_name_moves_nothing(node: Node) -> None:
    before = node.json("agent", "list")
    for name in ("", "../../x", "bad name/..", "a,b", "role:x"):
        refused = node.run("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/moved")
        assert refused.returncode == 2 and "agent id" in refused.stderr, refused
    after = node.json("agent", "list")
    assert [row["workspace"] for row in after] == [row["workspace"] for row in before]
    assert not (node.folder / "moved").exists()


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    argv = [sys.executable, "-m", "maestro", "agent", "list"]
    env = os.environ | {"MAESTRO_HOME": str(tmp_path / "file")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and str(tmp_path / "file") in done.stderr and done.stderr.count("\n") == 1


def test_a_dispatch_to_an_agent_whose_node_was_shut_down_says_what_it_waits_for(tmp_path: Path) -> None:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    try:
        with Node(tmp_path / "a", **env) as a, Node(tmp_path / "b", **env) as b:
            b.json("agent", "assign", "shell", "--name", "there", "--to-workspace", f"{b.folder}/there")
            b.json("shutdown")
            a.up()
            done = a.run("task", "dispatch", "true", "--to", "there", "--async")
            assert done.returncode == 0 and f"there waits for node {b.id}, which is down" in done.stderr
            b.up()
            until(lambda: a.json("task", "list")[0]["status"] == "completed")
            assert "waits for" not in a.run("task", "dispatch", "true", "--to", "there", "--async").stderr
    finally:
        server.close()
