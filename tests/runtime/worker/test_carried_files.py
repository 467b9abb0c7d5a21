"""Files that a step of a workflow leaves and brings, by a real daemon that is given its tasks through the log."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from maestro.model.events import NewEvent, RunEnded, TaskDispatched
from maestro.store.contract import Append
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("carried")) as node:
        for name in ("ann", "ben"):
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        yield node.up()


def step(node: Node, task: str, agent: str, prompt: str, **more: Any) -> None:
    """Dispatch a task as an attempt of a step."""
    fact = TaskDispatched(task, prompt, prompt, (agent,), workflow="w1", step=task, **more)
    store = node.store()
    try:
        store.log.commit([Append((NewEvent(f"task:{task}", fact, None),), "test", "test")], None)
    finally:
        store.close()


def end(node: Node, task: str) -> RunEnded:
    def found() -> list[RunEnded]:
        facts = [event.fact for event in node.events("run.ended")]
        return [fact for fact in facts if isinstance(fact, RunEnded) and fact.task == task]

    (fact,) = until(found)
    return fact


def test_files_go_from_one_workspace_to_another(node: Node) -> None:
    step(
        node,
        "build",
        "ann",
        "mkdir -p dist/x; echo 1 > dist/a; echo exit 7 > dist/x/go; chmod +x dist/x/go",
        leaves=("dist/**",),
    )
    left = end(node, "build")
    assert left.outcome == "ok" and sorted(left.files) == ["dist/a", "dist/x/go"]
    step(node, "ship", "ben", "test $(cat dist/a) = 1 && ./dist/x/go", brings=left.files)
    assert end(node, "ship").exit_code == 7


def test_what_is_not_there_fails_the_attempt_and_is_named(node: Node) -> None:
    step(node, "none", "ann", "true", leaves=("dist/**", "report.txt"))
    failed = end(node, "none")
    assert failed.outcome == "agent_error" and "'report.txt'" in failed.evidence and not failed.files
    step(node, "bad", "ann", "exit 3", leaves=("report.txt",))
    assert end(node, "bad").outcome == "exit"


def test_what_cannot_be_brought_starts_nothing(node: Node) -> None:
    (node.folder / "ben/out").symlink_to("..")
    kept = end(node, "build").files["dist/a"]
    step(node, "through", "ben", "touch started", brings={"out/x": kept})
    failed = end(node, "through")
    assert failed.outcome == "spawn_error" and "link" in failed.evidence
    assert not (node.folder / "ben/started").exists() and not (node.folder / "x").exists()


def test_they_are_kept_though_the_daemon_is_killed_before_it_could(node: Node) -> None:
    """The warden has told and recorded the end when the daemon dies."""
    step(node, "cut", "ann", "echo 2 > late; sleep 1; exit 0", leaves=("late",))
    until((node.folder / "ann/late").exists)
    daemon = node.pid
    os.kill(daemon, signal.SIGSTOP)
    until(lambda: list(node.root.glob("ann/cut/attempts/1/exit.json")))
    os.kill(daemon, signal.SIGKILL)
    node.up()
    left = end(node, "cut")
    assert left.outcome == "ok" and list(left.files) == ["late"]
