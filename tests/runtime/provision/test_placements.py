"""One writer a folder: whoever assigns at the same moment, and whichever node, home or store it belongs to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, until

AT_ONCE = 20


class Host(NamedTuple):
    """a and b: two nodes on one store; alone: a home with a store of its own. All on one host."""

    a: Node
    b: Node
    alone: Node
    folder: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("places")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    with Node(folder / "a", **env) as a, Node(folder / "b", **env) as b, Node(folder / "alone") as alone:
        for node in (a, b, alone):
            node.agent_type("worker")
            node.up()
        yield Host(a, b, alone, folder)


def at_once(calls: Sequence[tuple[Node, tuple[str, ...]]]) -> list[int]:
    """Exit codes of commands that all start together."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call[0].run(*call[1]).returncode, calls))


def test_of_many_assigns_at_once_to_one_folder_and_what_is_in_it_one_succeeds(host: Host) -> None:
    folder = host.folder / "contested"
    places = [f"{folder}/{'' if number % 2 else 'inner'}" for number in range(AT_ONCE)]
    calls = [
        (
            (host.a, host.b)[number // 2 % 2],
            ("agent", "assign", "worker", "--name", f"racer-{number}", "--to-workspace", place),
        )
        for number, place in enumerate(places)
    ]
    assert Counter(at_once(calls)) == {0: 1, 4: AT_ONCE - 1}
    racers = [row for row in host.a.json("agent", "list") if row["id"].startswith("racer")]
    assert len(racers) == 1


def test_of_many_assigns_at_once_to_one_agent_all_succeed(host: Host) -> None:
    words = ("agent", "assign", "worker", "--name", "popular", "--to-workspace", f"{host.folder}/popular", "--role")
    assert set(at_once([(host.a, (*words, f"role-{number}")) for number in range(AT_ONCE)])) == {0}
    roles = {event.fact.role for event in host.a.events("agent.assigned") if event.subject == "agent:popular"}  # type: ignore[union-attr]
    assert len(roles) == AT_ONCE


def test_two_nodes_of_one_host_share_its_folders(host: Host) -> None:
    host.a.json("agent", "assign", "worker", "--name", "mine", "--to-workspace", f"{host.folder}/mine")
    for refused in (f"{host.folder}/mine", f"{host.folder}/mine/inner", f"{host.a.home}/inner"):
        for asked, node in ((host.b, host.b), (host.a, host.b)):
            words = ("--name", "theirs", "--to-workspace", refused, "--node", node.id)
            done = asked.run("agent", "assign", "worker", *words)
            assert done.returncode == 4, (refused, done.stderr)
            assert "workspace of agent mine" in done.stderr or "MAESTRO_HOME" in done.stderr


def test_two_homes_with_stores_of_their_own_never_write_one_folder_at_once(host: Host) -> None:
    folder, order = host.folder / "shared", host.folder / "order"
    script = f"run: mkdir busy || echo overlap >> {order}; sleep 1.5; echo $MAESTRO_RUN_ID >> {order}; rmdir busy"
    tasks = []
    for node in (host.a, host.alone):
        node.json("agent", "assign", "worker", "--name", "sharer", "--to-workspace", str(folder))
    for _ in range(2):
        tasks += [(node, str(node.dispatch(script, "--to", "sharer")["id"])) for node in (host.a, host.alone)]
    for node, task in tasks:
        assert node.run("task", "wait", task).returncode == 0
    lines = order.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 4 and "overlap" not in lines


def test_a_folder_that_another_home_keeps_busy_is_told_as_the_reason(host: Host) -> None:
    held, waits = host.folder / "held", host.folder / "held/inner"
    host.a.json("agent", "assign", "worker", "--name", "holder", "--to-workspace", str(held))
    task = str(host.a.dispatch("run: sleep 600", "--to", "holder")["id"])
    until(lambda: host.a.task(task)["status"] == "running")
    host.alone.json("agent", "assign", "worker", "--name", "waiter", "--to-workspace", str(waits))
    row = host.alone.dispatch("run: true", "--to", "waiter")
    until(lambda: host.alone.task(str(row["id"]))["runs"][0]["evidence"])
    assert "another MAESTRO_HOME" in host.alone.task(str(row["id"]))["runs"][0]["evidence"]
    host.a.json("task", "cancel", task)
    assert host.alone.run("task", "wait", str(row["id"])).returncode == 0


def test_what_another_home_writes_is_neither_emptied_nor_replaced(host: Host) -> None:
    folder, node = host.folder / "both", host.alone
    for each in (host.a, node):
        each.json("agent", "assign", "worker", "--name", "both", "--to-workspace", str(folder))
    (folder / "work").write_text("kept")
    before = str(node.json("state", "snapshot", "--workspace", "both")["id"])
    task = str(host.a.dispatch("run: sleep 600", "--to", "both")["id"])
    until(lambda: host.a.task(task)["status"] == "running")
    (folder / "work").write_text("changed")
    for words in (
        ("agent", "reset", "both"),
        ("workspace", "clean", "both"),
        ("state", "restore", before, "--workspace", "both"),
    ):
        refused = node.run(*words)
        assert refused.returncode == 4, (words, refused.stderr)
        assert "another MAESTRO_HOME" in refused.stderr
        assert (folder / "work").read_text() == "changed"
    host.a.json("task", "cancel", task)
    node.json("state", "restore", before, "--workspace", "both")
    assert (folder / "work").read_text() == "kept"
