"""Several nodes share one store: who runs what, and what becomes of the runs of a node that dies or is cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, Proxy, marked, until

FLAG = "test -e {flag} && exit 0; touch {flag}; export MARK={mark}; setsid sleep 600 & exec sleep 601"


class Cluster(NamedTuple):
    """a stays; b is killed in the story; c is cut off from the store in it."""

    a: Node
    b: Node
    c: Node
    proxy: Proxy
    mark: str


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    proxy = Proxy(server.socket)
    namespace = f"t-{os.urandom(4).hex()}"
    folder = tmp_path_factory.mktemp("nodes")

    def node(name: str, url: str) -> Node:
        return Node(folder / name, MAESTRO_REDIS_URL=url, MAESTRO_NAMESPACE=namespace, MAESTRO_MAX_CONCURRENT="2")

    try:
        with node("a", server.url) as a, node("b", server.url) as b, node("c", proxy.url) as c:
            for each in (a, b, c):
                each.agent_type("worker")
                each.up()
                each.json(
                    "agent", "assign", "worker", "--name", each.folder.name, "--to-workspace", f"{each.folder}/ws"
                )
            a.dispatch("true", "--to", "shell", "--sync")
            yield Cluster(a, b, c, proxy, f"nodes-{os.urandom(4).hex()}")
            proxy.heal()
    finally:
        proxy.close()
        server.close()


def runs_of(node: Node, task: dict[str, Any]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = node.task(str(task["id"]))["runs"]
    return runs


def fill(node: Node, count: int) -> list[str]:
    """Keep slots of a node busy with work of its own until the tasks are cancelled."""
    tasks = []
    for number in range(count):
        name = f"busy-{node.folder.name}-{number}"
        node.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        tasks.append(str(node.dispatch("run: sleep 600", "--to", name, "--async")["id"]))
    until(lambda: all(node.task(task)["status"] == "running" for task in tasks))
    return tasks


def test_all_nodes_are_listed_with_what_they_are(cluster: Cluster) -> None:
    rows = {row["id"]: row for row in cluster.a.json("node", "list")}
    assert set(rows) == {cluster.a.id, cluster.b.id, cluster.c.id}
    assert {row["status"] for row in rows.values()} == {"up"}
    assert {row["max_concurrent"] for row in rows.values()} == {2}


def test_an_agent_works_on_the_node_that_its_workspace_is_on_whoever_asks(cluster: Cluster) -> None:
    for node in (cluster.a, cluster.b, cluster.c):
        row = cluster.a.dispatch("run: pwd", "--to", node.folder.name, "--sync")
        assert row["runs"][0]["node"] == node.id
        assert row["runs"][0]["result"] == f"mode code\n{node.folder}/ws"


def test_agents_without_a_workspace_work_wherever_there_is_room(cluster: Cluster) -> None:
    busy = fill(cluster.a, 2)
    elsewhere = cluster.a.dispatch("true", "--to", "shell", "--sync")
    assert elsewhere["runs"][0]["node"] in (cluster.b.id, cluster.c.id)
    for task in busy:
        cluster.a.json("task", "cancel", task)


class Story(NamedTuple):
    """Tasks by what they stand for."""

    free_on_b: dict[str, Any]
    bound_to_b: dict[str, Any]
    moved_from_b: dict[str, Any]
    free_on_c: dict[str, Any]
    bound_to_c: dict[str, Any]


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> Story:
    """b dies and c is cut off, each with a run that any node could do and with one of its own, until both are lost."""
    a, b, c, proxy, mark = cluster

    def work(name: str, to: str) -> dict[str, Any]:
        prompt = FLAG.format(flag=a.folder / f"flag-{name}", mark=f"{mark}-{name}")
        row = a.dispatch(prompt if to.startswith("free") else f"run: {prompt}", "--to", to, "--async")
        until(lambda: marked(f"{mark}-{name}"))
        return row

    for name in ("free-b", "free-c"):
        a.agent_type(name, adapter="shell")
    b.json("agent", "assign", "worker", "--name", "mover", "--to-workspace", f"{b.folder}/mover")
    busy = fill(a, 2) + fill(c, 2)
    free_on_b = work("fb", "free-b")
    bound_to_b = work("bb", "b")
    for task in busy[2:]:
        a.json("task", "cancel", task)
    moved_from_b = a.dispatch("run: pwd", "--to", "mover", "--async")
    free_on_c = work("fc", "free-c")
    bound_to_c = c.dispatch(f"run: sleep 3; touch {c.folder}/went-on", "--to", "c", "--async")
    until(lambda: a.task(str(bound_to_c["id"]))["status"] == "running")
    assert [runs_of(a, free_on_b)[0]["node"], runs_of(a, free_on_c)[0]["node"]] == [b.id, c.id]
    b.kill()
    proxy.cut()
    for task in busy[:2]:
        a.json("task", "cancel", task)
    until(
        lambda: {row["id"]: row["status"] for row in a.json("node", "list")} == {a.id: "up", b.id: "lost", c.id: "lost"}
    )
    return Story(free_on_b, bound_to_b, moved_from_b, free_on_c, bound_to_c)


def test_what_any_node_can_do_is_done_elsewhere_when_its_node_is_lost(cluster: Cluster, story: Story) -> None:
    a = cluster.a
    for task in (story.free_on_b, story.free_on_c):
        assert a.run("task", "wait", str(task["id"])).returncode == 0
        first, second = runs_of(a, task)
        assert (first["outcome"], second["outcome"], second["node"]) == ("lost", "ok", a.id)
        assert first["workspace"] != second["workspace"]  # the node that was lost may only be silent, and write there
    released = [event.seq for event in a.events("run.released") if str(story.free_on_b["id"]) in event.subject]
    assert len(set(released)) == 2


def test_what_is_bound_to_a_lost_node_waits_for_it(cluster: Cluster, story: Story) -> None:
    assert cluster.a.task(str(story.bound_to_b["id"]))["status"] == "running"
    assert cluster.a.task(str(story.bound_to_c["id"]))["status"] == "running"
    (waiting,) = cluster.a.json("queue", "status", "--task", str(story.moved_from_b["id"]))
    assert cluster.b.id in waiting["waiting_for"]


def test_an_agent_of_a_lost_node_goes_on_where_its_user_assigns_it(cluster: Cluster, story: Story) -> None:
    a = cluster.a
    a.json("agent", "assign", "worker", "--name", "mover", "--node", a.id, "--to-workspace", f"{a.folder}/mover")
    assert a.run("task", "wait", str(story.moved_from_b["id"])).returncode == 0
    assert runs_of(a, story.moved_from_b)[0]["node"] == a.id


def test_a_node_that_is_back_takes_up_what_is_bound_to_it(cluster: Cluster, story: Story) -> None:
    cluster.b.up()
    assert cluster.a.run("task", "wait", str(story.bound_to_b["id"])).returncode == 0
    assert [run["outcome"] for run in runs_of(cluster.a, story.bound_to_b)] == ["lost", "ok"]
    assert {run["node"] for run in runs_of(cluster.a, story.bound_to_b)} == {cluster.b.id}


def test_a_node_that_was_cut_off_stops_what_was_given_to_others_and_says_nothing_twice(
    cluster: Cluster, story: Story
) -> None:
    a, c, mark = cluster.a, cluster.c, cluster.mark
    assert marked(f"{mark}-fc")  # it could not know
    until(lambda: Path(f"{c.folder}/went-on").exists())
    cluster.proxy.heal()
    until(lambda: not marked(f"{mark}-fc"))
    assert a.run("task", "wait", str(story.bound_to_c["id"])).returncode == 0
    assert [run["outcome"] for run in runs_of(a, story.bound_to_c)] == ["ok"]
    until(lambda: {row["status"] for row in a.json("node", "list")} == {"up"})
    assert set(a.ends().values()) == {1}
    assert c.dispatch("run: pwd", "--to", "c", "--sync")["runs"][0]["node"] == c.id


def test_the_views_of_all_this_are_those_of_a_fresh_fold(cluster: Cluster, story: Story) -> None:
    assert cluster.a.json("replay", "verify")["ok"] is True
