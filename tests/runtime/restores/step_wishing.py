"""Runs of workflows whose facts a test tells as the leader would, with wishes for workspaces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from maestro.model import events as e
from maestro.model.events import AnyFact, NewEvent
from maestro.store.contract import Append
from tests.runtime.acting import Node, until

ROOT = Path(__file__).parents[3]
WAITS = '{"name": "w", "version": "1", "steps": [{"id": "gate", "approval": true}]}'
"""A workflow whose runs stay open, and wish for nothing by themselves."""


def place(node: Node, agent: str) -> Path:
    return node.folder / f"at-{agent}" / "work"


class Flow:
    """A run of a workflow, as its leader would tell of it in the log."""

    made = 0

    def __init__(self, node: Node, **started: Any) -> None:
        Flow.made += 1
        self.node = node
        self.run = f"run-{Flow.made}"
        started = {"node": node.id, "folder": f"{node.root}/.workflows/{self.run}"} | started
        self.folder = started["folder"]
        self.holds: dict[str, str] = {}
        self.tell(e.WorkflowRunStarted(self.run, "w", 1, WAITS, **started))

    def tell(self, *facts: AnyFact) -> None:
        append(self.node, *(NewEvent(f"workflow-run:{self.run}", fact, None) for fact in facts))

    def turn_to(self, agent: str, instance: str) -> None:
        """End the instance that has held the workspace until now."""
        before = self.holds.get(agent, instance)
        self.holds[agent] = instance
        if before != instance:
            self.end_step(before)

    def wish_archive(self, agent: str = "", instance: str = "fix", **more: Any) -> None:
        self.turn_to(agent, instance)
        self.tell(e.WorkspaceArchiveWanted(self.run, instance, self.node.id, self.at(agent), agent, **more))

    def wish_back(self, snapshot: str, agent: str = "", instance: str = "fix", **more: Any) -> None:
        self.turn_to(agent, instance)
        self.tell(e.WorkspaceRestoreWanted(self.run, instance, self.node.id, self.at(agent), snapshot, agent, **more))

    def at(self, agent: str) -> str:
        return str(place(self.node, agent)) if agent else f"{self.folder}/workspace"

    def answers(self, kind: str) -> list[Any]:
        return [event.fact for event in self.node.events(kind) if event.subject == f"workflow-run:{self.run}"]

    def archived(self, count: int = 1) -> Any:
        return until(lambda: (found := self.answers("workspace.archived"))[count - 1 :] and found)[-1]

    def returned(self, count: int = 1) -> Any:
        return until(lambda: (found := self.answers("workspace.returned"))[count - 1 :] and found)[-1]

    def end_step(self, instance: str) -> None:
        self.tell(e.StepEnded(self.run, instance, "completed"))

    def end(self) -> None:
        self.tell(e.WorkflowRunFinished(self.run, "completed", "ok"))


def append(node: Node, *events: NewEvent) -> None:
    store = node.store()
    try:
        store.log.commit([Append(events, "test", "test")], None)
    finally:
        store.close()


def work(node: Node, prompt: str, agent: str = "ann", **more: Any) -> None:
    task = f"t-{os.urandom(4).hex()}"
    append(node, NewEvent(f"task:{task}", e.TaskDispatched(task, prompt, prompt, (agent,), **more), None))
    until(lambda: node.task(task)["status"] in ("completed", "failed"))


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def killed(node: Node, die: str, wish: Any) -> None:
    """A daemon that dies there, as it fulfils the wish."""
    node.json("shutdown", "--keep", "--grace-period", "1")
    argv = [sys.executable, "-m", "tests.runtime.dying", "worker"]
    log = (node.home / "daemon.log").open("ab")
    daemon = subprocess.Popen(argv, env={**node.env, "DIE": die}, cwd=ROOT, stderr=log)
    until(lambda: node.run("node", "list").returncode == 0 and (node.home / "daemon.sock").exists())
    wish()
    assert daemon.wait(60) == -signal.SIGKILL
