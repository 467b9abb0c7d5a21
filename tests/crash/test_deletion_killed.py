"""The daemon is killed at any instant of a reset or clean: the work is at its place, or in a snapshot that holds it.

KILLS=300 kills it that often; SEED repeats a run. A death comes at a counted instant (what the daemon asks of the
system, by the interpreter's audit events); some daemons die again while they mend it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.workspaces.archive.library import Archive
from maestro.workspaces.deletion import ASIDE_PREFIX, begun
from tests.runtime.acting import Node, ended, until
from tests.workspaces.archive.trees import Told, told

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))
TREE = "workspaces/ann"

HOOK = """
import os, signal, sys
at, count, begins = int(os.environ.get("DIE_AT", "0")), 0, int(os.environ.get("DIE_FROM", "1"))

def hook(event, args):
    global begins, count
    if not count and event == "open" and str(args[0]).endswith("deletions/lock") and "worker" in sys.argv:
        begins -= 1
        count = int(begins == 0)
    elif count and (event == "open" or event.startswith(("os.", "fcntl."))):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("killed")
    (place / "hook").mkdir()
    (place / "hook/sitecustomize.py").write_text(HOOK)
    with Node(place / "here", PYTHONPATH=str(place / "hook")) as node:
        node.apart = ()  # the hook is for the daemon
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        yield node


def work(node: Node, trial: int) -> dict[bytes, Told]:
    """What an agent has done since."""
    place = node.folder / "ann"
    for number in range(12):
        (place / f"folder-{number % 3}/deep").mkdir(parents=True, exist_ok=True)
        (place / f"folder-{number % 3}/deep/file-{number}").write_bytes(os.urandom(500))
    (place / "now").write_text(str(trial))
    return contents(place)


def contents(place: Path) -> dict[bytes, Told]:
    return {path: each for path, each in told(place).items() if path}


def restarted(node: Node, die_at: int) -> int:
    """A daemon that dies at an instant of its next deletion."""
    pid = node.up().pid
    node.signal(signal.SIGTERM)
    until(lambda: ended(pid))
    node.json("up", DIE_AT=str(die_at))
    return node.pid


def test_killed_at_any_instant_nothing_is_lost_and_the_command_finishes_it(node: Node, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    place, archive, struck = node.folder / "ann", Archive(node.home / "snapshots"), 0
    for trial in range(KILLS):
        at = chance.randint(2, 400 if trial else 40)  # the first dies for certain
        words = chance.choice([("agent", "reset", "ann"), ("workspace", "clean", "ann")])
        print(f"SEED={SEED} trial {trial}: {words[1]} at {at}")
        pid = restarted(node, at)
        before = work(node, trial)
        done = node.run(*words)
        if done.returncode:
            struck += 1
            until(lambda pid=pid: ended(pid))
            if chance.random() < 0.3:
                node.run("up", DIE_AT=str(chance.randint(2, 60)))
            if trial % 2:
                node.json("node", "list")  # by a command without a daemon
            else:
                node.up()
        now = contents(place)
        assert now in (before, {}), sorted(now)
        if not now:
            kept = node.json("state", "snapshots")[0]["id"]
            back = tmp_path / f"back-{trial}"
            archive.restore(kept, TREE, back)
            assert contents(back) == before
        assert begun(node.home) == [] and not list(node.folder.glob(f"{ASIDE_PREFIX}*"))
        restarted(node, 0)
        node.json(*words)
        assert contents(place) == {}
    assert node.json("replay", "verify")["ok"]
    assert struck > KILLS // 4
