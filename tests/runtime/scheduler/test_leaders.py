"""Who schedules: one daemon at a time, another one when it dies or stands still, and never two that both decide."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.model.events import NewEvent, NodeResumed
from maestro.store.contract import Append, Fence, Rejected
from tests.conftest import StoreServer
from tests.runtime.acting import Node, marked, until

ALONE = "run: mkdir {lock} || touch {overlap}; export MARK={mark}; sleep 1; rmdir {lock}"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes, the first of which leads; an agent `first` works on it, an agent `second` on the other."""
    server = StoreServer("valkey", "--appendfsync", "everysec")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    try:
        with Node(tmp_path / "first", **env) as first, Node(tmp_path / "second", **env) as second:
            for node in (first, second):
                node.agent_type("worker")
                node.up()
                name = node.folder.name
                node.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{node.folder}/ws")
                until(lambda: leader(first).startswith(first.id))
            yield first, second
    finally:
        server.close()


def leader(node: Node) -> str:
    store = node.store()
    try:
        return store.work.lease_holder("scheduler") or ""
    finally:
        store.close()


def test_when_the_leader_is_killed_the_other_one_leads(pair: tuple[Node, Node]) -> None:
    first, second = pair
    first.kill()
    assert second.dispatch("run: echo led by another", "--to", "second", "--sync")["status"] == "completed"
    assert leader(second).startswith(second.id)


def test_a_leader_that_stood_still_decides_no_more_and_its_workspace_has_one_agent_at_a_time(
    pair: tuple[Node, Node],
) -> None:
    first, second = pair
    mark = f"stood-{os.urandom(4).hex()}"
    lock, overlap = first.folder / "lock", first.folder / "overlap"
    prompt = ALONE.format(lock=lock, overlap=overlap, mark=mark)
    tasks = [str(first.dispatch(prompt, "--to", "first")["id"]) for _ in range(3)]
    until(lambda: marked(mark))
    holder = leader(second)
    daemon = first.pid
    os.kill(daemon, signal.SIGSTOP)
    try:
        done = second.dispatch("run: echo meanwhile", "--to", "second", "--sync")
        assert done["status"] == "completed"
        assert leader(second).startswith(second.id)
        store = second.store()
        try:
            late = NewEvent(f"node:{first.id}", NodeResumed(first.id, "late"))
            (refused,) = store.log.commit([Append((late,), "test", "late", (), Fence("scheduler", holder))], None)
            assert isinstance(refused, Rejected) and refused.reason == "fence"
        finally:
            store.close()
        until(lambda: {n["id"]: n["status"] for n in second.json("node", "list")}[first.id] == "lost")
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert second.run("task", "wait", *tasks).returncode == 0
    until(lambda: {n["status"] for n in second.json("node", "list")} == {"up"})
    assert first.pid == daemon
    assert not overlap.exists()
    assert set(second.ends().values()) == {1}
    since = next(event.seq for event in second.events("node.lost"))
    decided = {event.actor for event in second.events() if event.seq > since and event.actor.startswith("scheduler:")}
    assert decided == {f"scheduler:{leader(second).partition(':')[0]}"}
    assert second.json("replay", "verify")["ok"] is True
