"""The daemon is killed at any instant of the restore of a mount point: the next start ends it before anything runs.

KILLS=300 kills it that often; SEED repeats a run. In a mount namespace of its own, all of it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.crash.test_restore_killed import HOOK
from tests.workspaces.mounted import in_namespace

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))

SCRIPT = """
import random, signal
from tests.runtime.acting import Node, ended, until
from tests.workspaces.archive import trees
trees.IS_ROOT = False  # only one owner is known in here
ws, chance = place / "ws", random.Random(int(os.environ["SEED"]))
(place / "below").mkdir(); ws.mkdir()
bind(place / "below", ws)
def contents():
    return {path: each for path, each in trees.told(ws).items() if path}
def begun(node, die_at):
    pid = node.up().pid
    node.signal(signal.SIGTERM)
    until(lambda: ended(pid))
    node.json("up", DIE_AT=str(die_at))
    return node.pid
def measured(node):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    node.run("shutdown", "--keep", "--grace-period", "1")
    argv, env = [sys.executable, "-m", "maestro", "worker"], {**node.env, "DIE_AT": str(-write)}
    daemon = subprocess.Popen(argv, env=env, pass_fds=[write], stderr=subprocess.DEVNULL)
    until(lambda: node.run("node", "list").returncode == 0 and (node.home / "daemon.sock").exists())
    node.json("state", "restore", "latest")
    daemon.terminate()
    daemon.wait(30)
    return int(os.read(read, 20))
with Node(place / "m", PYTHONPATH=str(place / "hook")) as node:
    node.apart = ()  # the hook is for the daemon
    node.json("agent", "assign", "shell", "--name", "a", "--to-workspace", str(ws))
    for number in range(10):
        (ws / f"folder-{number % 3}").mkdir(exist_ok=True)
        (ws / f"folder-{number % 3}/file-{number}").write_bytes(os.urandom(500))
        (ws / f"top-{number}").write_bytes(os.urandom(500))
    kept = contents()
    node.json("state", "snapshot")
    node.json("state", "restore", "latest")  # from now on each start looks for what was begun
    instants = measured(node)
    struck = news = 0
    for trial in range(int(os.environ["KILLS"])):
        at = chance.randint(2 if trial % 2 else instants * 3 // 4, instants)  # the folders are changed at the end
        pid = begun(node, at)
        (ws / "now").write_text(str(trial)); (ws / f"top-{trial % 10}").unlink(); (ws / "folder-1/more").write_text("x")
        changed, done = contents(), len(node.events("restore.done"))
        if node.run("state", "restore", "latest").returncode:
            struck += 1
            until(lambda: ended(pid))
            if chance.random() < 0.3:
                node.run("up", DIE_AT=str(chance.randint(2, 60)), DIE_FROM="1")
            if trial % 2:
                node.json("node", "list")  # by a command without a daemon
            begun(node, 0)
            there = contents()
            assert there in (kept, changed), (trial, at, sorted(there))
            assert len(node.events("restore.done")) - done == int(there == kept), (trial, at)
            news += there == kept
            print(f"trial {trial} at {at} of {instants}:", "new" if there == kept else "old", file=sys.stderr)
            there = set(os.listdir(node.home / "restore/exchange"))
            assert there <= {"lock", "journal.fresh"}, (trial, at, there)
            assert not list(ws.glob(".maestro-*")) and not (node.home / "restore/begun").exists(), (trial, at)
            assert node.json("agent", "list")[0]["state"] == "idle"
        begun(node, 0)
        node.json("state", "restore", "latest")
        assert contents() == kept, (trial, at)
    print(json.dumps([struck, news, node.json("replay", "verify")["ok"]]))
"""


def test_killed_at_any_instant_it_is_old_or_new_and_the_log_agrees(tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    print(f"SEED={SEED}")
    script = f"import os; os.environ.update(KILLS='{KILLS}', SEED='{SEED}')\n{SCRIPT}"
    struck, news, is_whole = json.loads(in_namespace(script, tmp_path, longest_s=300 + 60 * KILLS))
    print("struck", struck, "of them new", news)
    assert struck and is_whole
