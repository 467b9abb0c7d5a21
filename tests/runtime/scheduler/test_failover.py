"""A node is drained, dies, or stands still: what may run anywhere does, what is bound goes on by one command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maestro.model.events import Event
from tests.conftest import StoreServer
from tests.runtime.acting import Node, processes_of, until

FREE_MS_MAX = 15_000
LED_MS_MAX = 8_000
PATIENCE = 3
"""So much longer than on a machine of its own it may take where eight others use this one."""


class Trio(NamedTuple):
    """a stays. b, which leads, has the label `x`, as c does. folder: of all; archive: that all reach."""

    a: Node
    b: Node
    c: Node
    folder: Path


@pytest.fixture(scope="module")
def trio_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    folder = tmp_path_factory.mktemp("failover")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    env |= {"MAESTRO_ARCHIVE_URL": f"file://{folder}/archive", "MAESTRO_MAX_CONCURRENT": "2"}
    (folder / "archive").mkdir()
    try:
        with (
            Node(folder / "b", **env, MAESTRO_NODE_LABELS="x") as b,
            Node(folder / "a", **env) as a,
            Node(folder / "c", **env, MAESTRO_NODE_LABELS="x,big") as c,
        ):
            for node in (b, a, c):
                for slug in ("worker", "bound", "free"):
                    node.agent_type(slug, adapter="shell")
                node.up()
            b.json("agent", "assign", "bound", "--to-workspace", f"{b.folder}/bound")
            for node in (a, c):
                node.json("agent", "assign", "worker", "--name", node.folder.name, "--to-workspace", f"{node.folder}/w")
            yield Trio(a, b, c, folder)
    finally:
        server.close()


def rows(asked: Node) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in asked.json("node", "list")}


def starts(node: Node, task: str) -> list[Event]:
    return [event for event in node.events("run.started") if event.subject.startswith(f"run:{task}-")]


def now_ms(node: Node) -> int:
    with closing(node.store()) as store:
        return store.now()


def test_labels_choose_the_node_and_one_that_none_has_is_waited_for(trio_: Trio) -> None:
    a, c = trio_.a, trio_.c
    assert rows(a)[c.id]["labels"] == ["big", "x"]
    ran = a.dispatch("true", "--to", "type:free,label:big,label:x", "--sync")
    assert [run["node"] for run in ran["runs"]] == [c.id]
    done = a.run("task", "dispatch", "true", "--to", "free,label:gpu", "--async", "-q")
    assert "which none has" in done.stderr
    (row,) = a.json("queue", "status", "--waiting")
    assert row["waiting_for"] == "a node with the label gpu, which none has"
    a.json("task", "cancel", done.stdout.strip())


def test_a_drained_node_finishes_what_runs_and_leaves_and_takes_nothing_until_that_is_undone(trio_: Trio) -> None:
    a, c = trio_.a, trio_.c
    go = trio_.folder / "go"
    task = str(a.dispatch(f"until test -e {go}; do sleep 0.1; done", "--to", "c", "--async")["id"])
    until(lambda: a.task(task)["status"] == "running")
    assert a.json("node", "drain", c.id)["state"] == "draining"
    waiting = str(a.dispatch("true", "--to", "free,label:big", "--async")["id"])
    (row,) = a.json("queue", "status", "--waiting")
    assert f"node {c.id}, which is drained" in row["waiting_for"]
    assert a.run("node", "forget", c.id).returncode == 4
    go.touch()
    until(lambda: rows(a)[c.id]["state"] == "left")
    assert a.task(task)["status"] == "completed"
    assert a.run("node", "forget", c.id).returncode == 4  # its agent has a workspace there
    assert c.json("up")["state"] == "draining"
    assert a.task(waiting)["status"] == "queued"
    assert a.json("node", "drain", c.id, "--undo")["state"] == "up"
    assert a.run("task", "wait", waiting).returncode == 0


class Story(NamedTuple):
    """What was going on when b, which led, was killed. killed_at: server ms; later: dispatched right behind that."""

    free: str
    bound: str
    later: str
    killed_at: int


@pytest.fixture(scope="module")
def story(trio_: Trio) -> Story:
    a, b, c = trio_.a, trio_.b, trio_.c
    Path(f"{b.folder}/bound/work").write_text("kept")
    b.json("state", "snapshot", "--workspace", "bound")
    put_back = {row["id"]: row["node"] for row in a.json("agent", "assign", "--from-snapshot", "latest")}
    assert put_back["bound"] == b.id and put_back["c"] == c.id  # each by its own node
    hold = f"test -e {trio_.folder}/dead && exit 0; sleep 600 & wait"
    a.json("node", "drain", c.id)  # so that b has what c could have
    c_left = until(lambda: rows(a)[c.id]["state"] == "left")
    free = str(a.dispatch(hold, "--to", "free,label:x", "--async")["id"])
    bound = str(a.dispatch(f"{hold}; cat work", "--to", "bound", "--async")["id"])
    until(lambda: a.task(free)["status"] == a.task(bound)["status"] == "running")
    assert c_left and a.task(free)["runs"][0]["node"] == b.id
    assert (
        f"node {c.id} is left: it takes work when its daemon runs again"
        in a.run("node", "drain", c.id, "--undo").stderr
    )
    assert c.json("node", "drain", c.id, "--undo")["state"] == "up", "on the node itself it starts the daemon"
    (trio_.folder / "dead").touch()
    killed_at = now_ms(a)
    for pid in processes_of(b):
        os.kill(pid, signal.SIGKILL)
    later = str(a.dispatch("true", "--to", "a", "--async")["id"])
    return Story(free, bound, later, killed_at)


def test_another_leader_decides_within_seconds(trio_: Trio, story: Story) -> None:
    (started,) = until(lambda: starts(trio_.a, story.later))
    took = started.at - story.killed_at
    print(f"led again after {took} ms")
    assert took < PATIENCE * LED_MS_MAX


def test_what_may_run_anywhere_runs_elsewhere_within_seconds(trio_: Trio, story: Story) -> None:
    _, again = until(lambda: len(found := starts(trio_.a, story.free)) == 2 and found)
    took = again.at - story.killed_at
    print(f"runs elsewhere after {took} ms")
    assert again.actor.endswith(trio_.c.id) and took < PATIENCE * FREE_MS_MAX
    assert trio_.a.run("task", "wait", story.free).returncode == 0


def test_what_is_bound_waits_and_says_so_and_goes_on_by_one_command(trio_: Trio, story: Story) -> None:
    a, b, c = trio_.a, trio_.b, trio_.c
    until(lambda: rows(a)[b.id]["state"] == "lost")
    command = "maestro agent assign bound --from-snapshot newest --node <node>"
    assert command in a.task(story.bound)["waiting_for"]
    assert command in next(r["waiting_for"] for r in a.json("queue", "status") if r["task"] == story.bound)
    until(lambda: any(row["name"] == "node_silent" for row in a.json("monitor", "alerts")))
    moved = a.run("agent", "assign", "bound", "--from-snapshot", "newest", "--node", c.id)
    assert moved.returncode == 4 and "is not empty" in moved.stderr  # this test's nodes share a host
    place = f"{c.folder}/bound"
    moved = a.run("agent", "assign", "bound", "--from-snapshot", "newest", "--node", c.id, "--to-workspace", place)
    assert moved.returncode == 0 and " old (asked)" in moved.stderr, moved.stderr
    assert a.run("task", "wait", story.bound).returncode == 0
    assert [run["outcome"] for run in a.task(story.bound)["runs"]] == ["lost", "ok"]
    assert Path(place, "work").read_text() == Path(b.folder, "bound/work").read_text() == "kept"
    found = [row for row in a.json("workspace", "list") if row["agent"] == "bound"]
    assert [(row["node"], row["stranded"], bool(row["left_at"])) for row in found] == [
        (c.id, False, False),
        (b.id, True, True),
    ]
    told = a.run("node", "drain", b.id).stderr
    assert "is lost, and takes nothing when it is back either" in told and "finishes" not in told
    a.json("node", "drain", b.id, "--undo")
    assert a.json("node", "forget", b.id)["state"] == "forgotten"
    assert [row["node"] for row in a.json("workspace", "list") if row["agent"] == "bound"] == [c.id]
    b.up()
    assert rows(a)[b.id]["state"] == "up"


def test_a_leader_that_stands_still_is_followed_by_another(trio_: Trio, story: Story) -> None:
    with closing(trio_.a.store()) as store:
        leader = str(store.work.lease_holder("scheduler")).partition(":")[0]
    node = next(each for each in (trio_.a, trio_.b, trio_.c) if each.id == leader)
    other = trio_.a if node is not trio_.a else trio_.c
    node.signal(signal.SIGSTOP)
    try:
        stopped_at = now_ms(other)
        task = str(other.dispatch("true", "--to", other.folder.name, "--async")["id"])
        (started,) = until(lambda: starts(other, task))
        print(f"led again after {started.at - stopped_at} ms")
        assert started.at - stopped_at < PATIENCE * LED_MS_MAX
    finally:
        node.signal(signal.SIGCONT)
    until(lambda: rows(other)[leader]["state"] == "up")
    assert set(other.ends().values()) == {1}
    assert other.json("replay", "verify")["ok"] is True
