"""A node whose log has outgrown its store: the daemon seals the past, and every command reads it all the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.model.events import (
    NewEvent,
    StateSet,
    TaskDispatched,
    TaskFinished,
    WorkflowRunFinished,
    WorkflowRunStarted,
)
from maestro.store.contract import Append
from replayers.sealed import Segments
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until

COUNT = 22_000
LONG_AGO = ("run: echo long ago", "--to", "worker", "--key", "long-ago")


def fill(node: Node, count: int) -> None:
    """Many small events, appended in groups."""
    store = node.store()
    try:
        for start in range(0, count, 500):
            some = range(start, min(start + 500, count))
            facts = [(f"k{n % 50}", StateSet(f"k{n % 50}", str(n))) for n in some]
            group = [Append((NewEvent(f"state:{key}", fact),), "me", f"cmd:{fact.value}") for key, fact in facts]
            store.log.commit(group, None)
    finally:
        store.close()


def ran(node: Node, count: int) -> None:
    """Many runs of two workflows, all of which have ended."""
    store = node.store()
    try:
        for number in range(count):
            run = f"run-{number:03d}"
            begun = (WorkflowRunStarted(run, "deploy" if number % 2 else "review", 1, "{}"),)
            told = (*begun, WorkflowRunFinished(run, "completed" if number < 90 else "failed", "ok"))
            store.log.commit([Append(tuple(NewEvent(f"workflow-run:{run}", fact) for fact in told), "me", "x")], None)
    finally:
        store.close()


class Story:
    """What a node told of an early task, and of all, before its log was sealed."""

    def __init__(self, node: Node, task: str) -> None:
        self.task = task
        self.audit = node.run("audit", f"task:{task}").stdout
        self.early = node.run("events", "export", "--to", "9000").stdout
        assert len(self.early.splitlines()) == 9000
        self.at = node.run("replay", "at", "60", "--view", "tasks").stdout
        self.rebuilt: dict[str, Any] = node.json("replay", "rebuild")


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    yield server
    server.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[tuple[Node, Story]]:
    """A node that did a task long ago and has sealed that by now."""
    with Node(tmp_path_factory.mktemp("sealed"), MAESTRO_REDIS_URL=server.url) as node:
        node.agent_type("worker")
        task = str(node.dispatch(*LONG_AGO, "--sync")["id"])
        ran(node, 150)
        fill(node, COUNT)
        story = Story(node, task)
        assert node.run("shutdown", "--keep").returncode == 0
        node.env["MAESTRO_LOG_EVENTS_MAX"] = "10000"
        node.up()
        until(lambda: held_from(node) == 10_001)
        yield node, story


def held_from(node: Node) -> int:
    store = node.store()
    try:
        return store.log.first()
    finally:
        store.close()


def test_the_log_says_what_was_sealed(told: tuple[Node, Story]) -> None:
    node, _ = told
    [event] = node.json("events", "tail", "--type", "log.sealed")
    fact = event["data"]
    assert (fact["first"], fact["last"]) == (1, 10_000)
    assert (node.home / "segments" / node.namespace / fact["path"]).is_file()


def test_every_command_reads_on_as_if_nothing_had_been_sealed(told: tuple[Node, Story]) -> None:
    node, story = told
    assert node.run("audit", f"task:{story.task}").stdout == story.audit
    assert node.run("events", "export", "--to", "9000").stdout == story.early
    assert node.run("replay", "at", "60", "--view", "tasks").stdout == story.at
    assert node.json("replay", "verify")["ok"]
    rebuilt = {view: digest for view, digest in node.json("replay", "rebuild")["views"].items() if view == "tasks"}
    assert rebuilt == {"tasks": story.rebuilt["views"]["tasks"]}
    first = node.json("events", "tail", "--group", "late", "--limit", "5")
    assert [event["seq"] for event in first] == [1, 2, 3, 4, 5]


def test_work_goes_on_after_a_daemon_that_was_killed(told: tuple[Node, Story]) -> None:
    node, story = told
    node.kill()
    row = node.dispatch("run: echo today", "--to", "worker", "--sync", "--depends-on", story.task)
    assert row["status"] == "completed"
    assert node.json("replay", "verify")["ok"]


def test_a_damaged_segment_is_named_and_exits_with_6(told: tuple[Node, Story]) -> None:
    node, _ = told
    [path] = Path(node.home / "segments" / node.namespace).glob("*.seg")
    data = path.read_bytes()
    path.write_bytes(data[:5000] + bytes([data[5000] ^ 4]) + data[5001:])
    done = node.run("replay", "verify")
    assert done.returncode == 6
    assert path.name in done.stdout + done.stderr
    path.write_bytes(data)
    assert node.run("replay", "verify").returncode == 0


def test_the_doctor_looks_whether_the_segments_are_there(told: tuple[Node, Story]) -> None:
    node, _ = told
    folder = Path(node.home / "segments" / node.namespace)

    def found() -> dict[str, str]:
        return {row["check"]: row for row in json.loads(node.run("doctor").stdout)}["segments"]

    assert found()["status"] == "ok" and "1 to 10000" in found()["detail"]
    node.kill()
    folder.rename(folder.with_name("away"))
    assert found()["status"] == "failed" and "MAESTRO_SEGMENTS_DIR" in found()["remedy"]
    shutil.rmtree(folder, ignore_errors=True)  # a daemon that has started since leaves its mark there
    folder.with_name("away").rename(folder)
    assert found()["status"] == "ok"


def test_a_node_that_does_not_reach_the_segments_keeps_the_log_from_being_trimmed(
    told: tuple[Node, Story], tmp_path: Path
) -> None:
    node, _ = told
    with Node(tmp_path / "other", MAESTRO_REDIS_URL=node.url, MAESTRO_NAMESPACE=node.namespace) as other:
        node.up()
        other.up()
        fill(node, 12_000)
        until(lambda: "the log is not trimmed" in node.log() + other.log())
        assert held_from(node) == 10_001
        assert other.run("events", "export", "--from", "1", "--to", "9").returncode == 6
        shared = str(node.home / "segments")
        assert other.run("shutdown", "--keep").returncode == 0
        other.env["MAESTRO_SEGMENTS_DIR"] = shared
        other.env["MAESTRO_LOG_EVENTS_MAX"] = "10000"
        other.up()
        until(lambda: held_from(node) == 20_001)
        assert other.json("replay", "verify")["ok"]
        assert Segments(Path(shared), node.namespace).folder.is_dir()


def finish(node: Node, count: int) -> None:
    """Many tasks that were dispatched and have ended."""
    store = node.store()
    try:
        for number in range(count):
            task = f"ended-{number}"
            facts = (TaskDispatched(task, "p", "p", ("worker",)), TaskFinished(task, "cancelled", "cancelled"))
            events = (NewEvent(f"task:{task}", facts[0], store.log.head().floor), NewEvent(f"task:{task}", facts[1]))
            store.log.commit([Append(events, "me", f"cmd:{task}")], None)
    finally:
        store.close()


def has_version(node: Node, subject: str) -> bool:
    store = node.store()
    try:
        return subject in store.log.versions()
    finally:
        store.close()


def test_a_task_that_is_no_row_any_more_is_told_and_its_key_dispatches_nothing(told: tuple[Node, Story]) -> None:
    node, story = told
    before = node.json("task", "status", story.task)
    assert node.run("config", "set", "views.keep", "99").returncode == 2
    assert node.json("config", "set", "views.keep", "100")["value"] == 100
    finish(node, 150)
    fill(node, 1000)  # to a position at which views are cut
    assert story.task not in [row["id"] for row in node.json("task", "list", "--agent", "worker")]
    fill(node, 10_000)  # so that more is sealed, and versions are forgotten
    until(lambda: not has_version(node, f"task:{story.task}"))
    assert node.json("task", "status", story.task) == before
    assert node.dispatch(*LONG_AGO)["id"] == story.task
    assert node.run("task", "retry", story.task).returncode == 4
    assert "long ago" in node.run("task", "logs", story.task).stdout
    [row] = node.json("task", "list", "--all-time", "--agent", "worker", "--status", "completed", "--limit", "1")
    assert row["id"] != story.task  # that of today
    rows = node.json("task", "list", "--all-time", "--status", "completed")
    assert rows[-1] == before
    assert node.run("audit", f"task:{story.task}").stdout == story.audit
    assert len(node.json("workflow", "runs", "--limit", "200")) == 100
    ran = [row["id"] for row in node.json("workflow", "runs", "--limit", "200", "--all-time")]
    assert ran == [f"run-{number:03d}" for number in reversed(range(150))]
    failed = node.json("workflow", "runs", "--all-time", "--status", "failed", "--limit", "9")
    assert [row["id"] for row in failed] == ran[:9]
    completed = node.json("workflow", "runs", "--all-time", "--status", "completed", "--limit", "200")
    assert [row["id"] for row in completed] == ran[60:]
    assert node.run("workflow", "runs", "--all-time", "--waiting").returncode == 2
    depends = node.dispatch("run: echo then", "--to", "worker", "--sync", "--depends-on", story.task)
    assert depends["status"] == "completed"
    verified = node.json("replay", "verify")
    assert verified["ok"] and verified["bounded"]["keep"] == 100
    shown = {row["name"]: row for row in node.json("config", "show")}
    assert shown["views.keep"]["value"] == 100 and "event" in shown["views.keep"]["source"]
