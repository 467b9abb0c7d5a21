"""How few turns of the log a task takes: what follows from an event at once is appended with it, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from maestro.model.events import Event, NewEvent, RunReleased, RunStarted
from maestro.runtime.worker.run_appends import RunAppends
from maestro.store.contract import Append, Committed
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("turns"), MAESTRO_MAX_CONCURRENT="2") as node:
        for agent in ("ann", "ben"):
            workspace = str(node.folder / agent)
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", workspace)
        node.up()
        until(lambda: "this node schedules" in node.log())
        yield node


def story(node: Node, task: str) -> list[Event]:
    """All events of a task, in order."""
    return [e for e in node.events() if task in (e.subject.removeprefix("task:"), getattr(e.fact, "task", ""))]


def pending(node: Node) -> list[tuple[str, str, int]]:
    """Hints on the node's stream."""
    store = node.store()
    try:
        return store.work.pending(node.id)
    finally:
        store.close()


def test_a_task_for_a_free_agent_is_released_and_started_with_its_dispatch(node: Node) -> None:
    def at_once() -> list[Event]:
        """The story of a task that came when the scheduler had nothing to do, as on a busy machine not each does."""
        told = story(node, node.dispatch("true", "--to", "ann", "--sync")["id"])
        return (
            told
            if told[0].cause.startswith("cmd:") and (told[2].seq, told[2].at) == (told[0].seq + 2, told[0].at)
            else []
        )

    dispatched, released, started, ended, finished = until(at_once)
    types = ["task.dispatched", "run.released", "run.started", "run.ended", "task.finished"]
    assert [e.type for e in (dispatched, released, started, ended, finished)] == types
    assert (released.seq, started.seq) == (dispatched.seq + 1, dispatched.seq + 2)
    assert dispatched.actor.startswith("cli:") and dispatched.cause.startswith("cmd:")
    assert released.actor == f"scheduler:{node.id}" and released.cause == str(dispatched.seq)
    assert started.actor == f"worker:{node.id}" and started.cause == str(released.seq)
    assert ended.actor == f"worker:{node.id}" and ended.cause == str(released.seq)
    assert finished.seq == ended.seq + 1
    assert finished.actor == released.actor and finished.cause == str(ended.seq)
    assert until(lambda: pending(node) == [])


def test_what_waits_for_an_agent_starts_with_its_release(node: Node) -> None:
    tasks = [node.dispatch("sleep 0.2", "--to", "ann")["id"] for _ in range(3)]
    assert node.run("task", "wait", *tasks).returncode == 0
    for task in tasks:
        released, started = (e for e in story(node, task) if e.type in ("run.released", "run.started"))
        assert started.seq == released.seq + 1 and started.cause == str(released.seq)
    runs = [e for e in node.events() if e.type in ("run.started", "run.ended") and cast(Any, e.fact).task in tasks]
    assert [e.type for e in runs] == ["run.started", "run.ended"] * 3, "one run at a time per agent"
    assert until(lambda: pending(node) == [])


def test_no_more_runs_are_on_than_the_node_has_room_for(node: Node) -> None:
    for number in range(4):
        workspace = str(node.folder / f"more-{number}")
        node.json("agent", "assign", "shell", "--name", f"more-{number}", "--to-workspace", workspace)
    tasks = [node.dispatch("sleep 0.3", "--to", f"more-{number}")["id"] for number in range(4)]
    assert node.run("task", "wait", *tasks).returncode == 0
    on = most = 0
    for event in node.events():
        on += (event.type == "run.started") - (event.type == "run.ended")
        most = max(most, on)
    assert most == 2


def test_a_run_that_began_and_cannot_go_on_is_ended_as_lost() -> None:
    async def play() -> list[Event]:
        store = MemoryStore("turns")
        released = RunReleased("t-0.1", "t", 0, 1, "ann", "n", 1.0, 0)
        started = RunStarted("t-0.1", "t", "ann", "n", "/f", "/w")
        async with Gateway(store) as gateway:
            worker = SimpleNamespace(actor="worker:n", context=SimpleNamespace(gateway=gateway))
            log = RunAppends(cast(Any, worker), "t-0.1", 0)
            await log.abandon("ann", "it never was in the log")
            events = (NewEvent("run:t-0.1", released, 0), NewEvent("run:t-0.1", started))
            result = await gateway.append(Append(events, "scheduler:n", "1"))
            assert isinstance(result, Committed)
            log.has_begun(result.first)
            await log.abandon("ann", "no socket")
            await log.abandon("ann", "said twice")
        return store.log.read(0, 100)

    *_, started, lost = trio.run(play)
    assert (started.type, lost.type, lost.cause) == ("run.started", "run.ended", "1")
    assert (cast(Any, lost.fact).outcome, cast(Any, lost.fact).evidence) == ("lost", "no socket")


def test_that_the_end_of_a_run_cannot_be_appended_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        store = MemoryStore("turns")
        async with Gateway(store) as gateway:
            host = SimpleNamespace(actor="worker:n", context=SimpleNamespace(gateway=gateway))
            log = RunAppends(cast(Any, host), "t-0.1", 0)
            log.has_begun(1)
            gateway.give_up()
            await log.abandon("ann", "no socket")
            assert not log.ended

    trio.run(play)
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("the end of run t-0.1 is not in the log: the store")
