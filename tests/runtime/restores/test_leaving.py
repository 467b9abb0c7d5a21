"""A client is killed at any await of what it asked for: nothing that its command held is held any more.

CANCELS=100 tries that many instants of each command; SEED repeats a run. Restores, snapshots, resets, moves, dispatches
and the shutdown, each cancelled at a counted step of its handler, in a real daemon with agents at work.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from maestro.model.errors import Refused
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX, Exchange
from tests.runtime.acting import Node, ended, marked, until

CANCELS = int(os.environ.get("CANCELS", "2"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))
AGENTS = ("ann", "ben")
COMMANDS = {
    "StateSnapshot": ("state", "snapshot"),
    "StateRestore": ("state", "restore", "latest"),
    "StateRestore one": ("state", "rollback", "latest", "--workspace", "ann", "--skip-verify"),
    "AgentReset": ("agent", "reset", "ann"),
    "WorkspaceClean": ("workspace", "clean", "ann"),
    "AgentAssign": ("agent", "assign", "shell", "--name", "ann", "--force", "--to-workspace"),
    "AgentsPutBack": ("agent", "assign", "--from-snapshot", "latest"),
    "TaskDispatch": ("task", "dispatch", "true", "--to", "ben", "--sync"),
}


class Leaving(Node):
    """A node whose daemon cancels what a client asked for at a step that the test gives."""

    def begin(self) -> subprocess.Popen[bytes]:
        (self.folder / "at").write_text("- 0")
        argv = [sys.executable, "-m", "tests.runtime.leaving"]
        env = {**self.env, "LEAVE_AT": str(self.folder / "at")}
        log = (self.home / "daemon.log").open("ab")
        daemon = subprocess.Popen(argv, env=env, cwd=Path(__file__).parents[3], stderr=log)
        until(lambda: self.run("node", "list").returncode == 0 and (self.home / "daemon.sock").exists())
        return daemon

    def steps(self, name: str) -> int:
        """How many this command took, which was carried out just now."""
        told = self.folder / f"at.{name}"
        return int(until(lambda: told.exists() and told.read_text()))

    def leave(self, name: str, at: int, *words: str) -> None:
        """The client of this command goes at that step."""
        (self.folder / "at").write_text(f"{name} {at}")
        self.run(*words)
        (self.folder / "at").write_text("- 0")


def team(node: Node) -> Path:
    """Where the workspaces are: below the root, so that a restore may replace what nobody has just now."""
    return node.root / "team"


@contextmanager
def a_team(folder: Path) -> Iterator[Leaving]:
    """A node with two agents."""
    with Leaving(folder) as node:
        daemon = node.begin()
        for agent in AGENTS:
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(team(node) / agent))
        yield node
        node.json("shutdown", "--grace-period", "1", "--keep")
        daemon.wait(30)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """One for all commands, as none may leave anything behind; with a snapshot to go back to."""
    with a_team(tmp_path_factory.mktemp("leaving")) as node:
        for agent in AGENTS:
            (team(node) / agent / "mine").write_text(f"of {agent}")
            (team(node) / agent / "large").write_bytes(os.urandom(1 << 20))
        node.json("state", "snapshot")
        yield node


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Leaving]:
    with a_team(tmp_path) as node:
        yield node


def check(node: Leaving, mark: str) -> None:
    """No lock, no journal, no stage, no agent that stands still or is stopped; and what comes next is carried out."""
    until(lambda: can_be_taken(node))
    until(lambda: SnapshotFolders(node.home).is_free())
    assert not (node.home / "restore/begun").exists() and not (node.home / "restore/exchange/journal").exists()
    assert not list(team(node).glob(f"{STAGE_PREFIX}*"))
    until(lambda: {row["state"] for row in node.json("agent", "list")} <= {"idle", "active"})
    assert not [pid for pid in marked(mark) if psutil.Process(pid).status() == psutil.STATUS_STOPPED]
    for agent in AGENTS:  # no door is shut, and nobody is held
        if agent != "ann" or not marked(mark):
            assert node.dispatch("true", "--to", agent, "--sync", timeout=30)["status"] == "completed"


def busy(node: Leaving) -> tuple[str, str]:
    """What is cancelled finds ann at work: her task and its mark."""
    mark = os.urandom(4).hex()
    until(lambda: node.json("agent", "list")[0]["state"] == "idle")
    task = str(node.dispatch(f"exec env MARK={mark} sleep 300", "--to", "ann")["id"])
    until(lambda: marked(mark))
    return task, mark


def done(node: Leaving, task: str, mark: str) -> None:
    """She is not at work any more."""
    node.run("task", "cancel", task)
    until(lambda: not marked(mark))


def can_be_taken(node: Leaving) -> bool:
    try:
        Exchange(node.home / "restore/exchange").close()
    except Refused:
        return False
    return True


def is_stopped(node: Leaving) -> bool:
    return node.json("agent", "list")[0]["state"] == "stopped"  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", COMMANDS)
def test_whose_client_is_killed_at_any_await_holds_nothing(node: Leaving, name: str) -> None:
    chance = random.Random(SEED)
    kind, words = name.split()[0], COMMANDS[name]
    places = [str(team(node) / "elsewhere"), str(team(node) / "ann")] if kind == "AgentAssign" else []
    node.json("agent", "assign", "shell", "--name", "ann", "--force", "--to-workspace", str(team(node) / "ann"))
    (node.folder / f"at.{kind}").unlink(missing_ok=True)
    node.json(*words, *places[:1])
    steps = node.steps(kind)
    node.json("state", "restore", "latest")
    for trial in range(CANCELS):
        at = chance.randint(2, steps)
        print(f"SEED={SEED} {name}: step {at} of {steps}")
        task, mark = busy(node)
        node.leave(kind, at, *words, *places[(trial + 1) % 2 :][:1])
        if kind == "WorkspaceClean":  # one that was done leaves it stopped
            until(lambda: not is_stopped(node) or not (team(node) / "ann/mine").exists())
            if is_stopped(node):
                node.json("agent", "restart", "ann")
        check(node, mark)
        done(node, task, mark)
        (team(node) / "ann").mkdir(exist_ok=True)
        (team(node) / "ann/mine").write_text("of ann")
    node.json("state", "restore", "latest")
    assert node.json("replay", "verify")["ok"]


def held(node: Leaving) -> bool:
    return bool(node.json("node", "list")[0]["held"])


@pytest.mark.parametrize("at", range(1, 5))
def test_a_shutdown_that_has_begun_is_carried_out(alone: Leaving, at: int) -> None:
    """Its client goes: the node does not stay up with its queue held."""
    alone.dispatch("trap '' TERM; while :; do sleep 1; done", "--to", "ann")
    pid = alone.pid
    alone.leave("Shutdown", at, "shutdown", "--grace-period", "2", "--keep")
    until(lambda: ended(pid) or not held(alone))
    alone.up()
    assert alone.dispatch("true", "--to", "ben", "--sync")["status"] == "completed"
