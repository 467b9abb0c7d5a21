"""The daemon is killed at any instant of a restore: all workspaces are old or all are new, and the log agrees.

KILLS=300 kills it that often; SEED repeats a run. Two of three deaths come at a counted instant (what the daemon asks
of the system, by the interpreter's audit events), the third at a time; some daemons die again while they mend it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from maestro.workspaces.exchanges.exchange import STAGE_PREFIX
from tests.runtime.acting import Node, ended, until
from tests.workspaces.archive.trees import Told, told

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))
AGENTS = ("ann", "ben")

HOOK = """
import os, signal, sys
at, count = int(os.environ.get("DIE_AT", "0")), 0
begins = int(os.environ.get("DIE_FROM", "2"))  # the first is what the start looks at, the second a restore

def hook(event, args):
    global begins, count
    if not count and event == "open" and str(args[0]).endswith("restore/exchange/lock") and "worker" in sys.argv:
        begins -= 1
        count = int(begins == 0)
    elif count and (event == "open" or event.startswith(("os.", "fcntl."))):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if at < 0 and event == "os.remove" and str(args[0]).endswith("restore/begun"):
            os.write(-at, b"%d" % count)

sys.addaudithook(hook)
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("killed")
    (place / "hook").mkdir()
    (place / "hook/sitecustomize.py").write_text(HOOK)
    node = Node(place / "here", PYTHONPATH=str(place / "hook"))
    node.apart = ()  # the hook is for the daemon
    with node:
        for agent in AGENTS:
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / agent))
            for number in range(20):
                (node.folder / agent / f"file-{number}").write_bytes(os.urandom(2000))
            (node.folder / agent / "large").write_bytes(os.urandom(1 << 20))
        node.json("state", "snapshot")
        node.json("state", "restore", "latest")  # from now on each start looks for what was begun
        yield node


def change(node: Node, trial: int) -> dict[str, dict[bytes, Told]]:
    """What the restore is to undo."""
    for agent in AGENTS:
        (node.folder / agent / "now").write_text(str(trial))
        (node.folder / agent / f"file-{trial % 20}").unlink()
        (node.folder / agent / f"file-{(trial + 1) % 20}").write_text("changed")
    node.dispatch("exec sleep 300", "--to", "ann")
    return {agent: told(node.folder / agent) for agent in AGENTS}


def restarted(node: Node, die_at: int) -> None:
    """A daemon that dies at an instant of its next restore."""
    pid = node.up().pid
    node.signal(signal.SIGTERM)
    gone(pid)
    node.json("up", DIE_AT=str(die_at))


def measured(node: Node) -> tuple[int, float]:
    """How many instants a restore has, and how long it takes."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    node.run("shutdown", "--keep", "--grace-period", "1")
    argv = [sys.executable, "-m", "maestro", "worker"]
    daemon = subprocess.Popen(
        argv, env={**node.env, "DIE_AT": str(-write)}, pass_fds=[write], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: node.run("node", "list").returncode == 0 and (node.home / "daemon.sock").exists())
        began = time.monotonic()
        node.json("state", "restore", "latest")
        took = time.monotonic() - began
        os.set_blocking(read, False)
        return int(os.read(read, 20)), took
    finally:
        daemon.terminate()
        daemon.wait(30)
        os.close(read)
        os.close(write)


def gone(pid: int) -> None:
    until(lambda: ended(pid))


def check(node: Node, kept: dict[str, dict[bytes, Told]], now: dict[str, dict[bytes, Told]], done: int) -> None:
    """After the next start: wholly old or wholly new, all alike, nothing left over, and the log says which."""
    there = {agent: told(node.folder / agent) for agent in AGENTS}
    assert there in (kept, now), {agent: sorted(each) for agent, each in there.items()}
    assert len(node.events("restore.done")) - done == int(there == kept)
    assert not list(node.folder.glob(f"{STAGE_PREFIX}*"))
    assert not (node.home / "restore/begun").exists() and not (node.home / "restore/exchange/journal").exists()
    assert {row["state"] for row in node.json("agent", "list")} <= {"idle", "active"}


def test_killed_at_any_instant_all_is_old_or_all_is_new_and_the_command_finishes_it(node: Node) -> None:
    chance = random.Random(SEED)
    kept = {agent: told(node.folder / agent) for agent in AGENTS}
    instants, took = measured(node)
    struck = 0
    for trial in range(KILLS):
        at = chance.randint(2, instants) if trial % 3 else 0
        after_s = chance.uniform(0.1, took)
        print(f"SEED={SEED} trial {trial}: at {at} of {instants}" if at else f"trial {trial}: after {after_s:.3f} s")
        restarted(node, at)
        now = change(node, trial)
        done, pid = len(node.events("restore.done")), node.pid
        argv = [sys.executable, "-m", "maestro", "state", "restore", "latest"]
        client = subprocess.Popen(argv, env=node.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if not at:
            time.sleep(after_s)
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
        _, said = client.communicate(timeout=90)
        if client.returncode:
            struck += 1
            gone(pid)
            if chance.random() < 0.3:
                node.run("up", DIE_AT=str(chance.randint(2, 40)), DIE_FROM="1")
            if trial % 2:
                node.json("node", "list")  # by a command without a daemon
            else:
                node.up()
            check(node, kept, now, done)
        else:
            assert "undo" in said
            restarted(node, 0)
        node.json("state", "restore", "latest")
        assert {agent: told(node.folder / agent) for agent in AGENTS} == kept
    assert node.json("replay", "verify")["ok"]
    assert struck > KILLS // 2
    shutil.rmtree(node.folder / "root", ignore_errors=True)
