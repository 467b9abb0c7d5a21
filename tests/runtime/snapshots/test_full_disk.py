"""A node whose disk fills up: it takes no new work, loses nothing that it acknowledged, and goes on when there is room.

The disk is a small tmpfs in a mount namespace of its own, as in tests/store/embedded/test_server_disk_full.py.
"""

from __future__ import annotations

import pytest

from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB

SCRIPT = """
import json, os, sys, threading
from pathlib import Path
from tests.runtime.acting import Node, until

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}

def fill(leave):
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with (disk / "filler").open("ab") as file:
        file.write(bytes(max(0, free - leave)))

def incidents():
    path = node.home / "store" / "incidents"
    return path.read_text() if path.exists() else ""

with Node(disk / "node", MAESTRO_WORKSPACE_ROOT=str(elsewhere / "root")) as node:
    node.agent_type("worker")
    node.json("agent", "assign", "worker", "--to-workspace", str(elsewhere / "ws"))
    first = node.dispatch("run: true", "--to", "worker", "--sync")
    until(lambda: (node.home / "store" / "ballast").exists())
    fill(2 << 20)
    until(lambda: "no work is claimed" in node.log())
    waiting = node.dispatch("run: echo waited", "--to", "worker")
    told["low"] = node.task(waiting["id"])["status"]
    acknowledged = [first["id"], waiting["id"]]
    while "disk was full" not in incidents():
        fill(0)
        done = node.run("state", "set", "big", "x" * 15000)
        dispatched = node.run("task", "dispatch", "run: true", "--to", "worker", "-q")
        acknowledged += dispatched.stdout.split()
    fill(2 << 20)
    told["still"] = node.run("task", "list").returncode
    (disk / "filler").unlink()
    until(lambda: node.run("task", "wait", *acknowledged).returncode == 0)
    told["kept"] = sorted(row["id"] for row in node.json("task", "list")) == sorted(acknowledged)
    told["ends"] = set(node.ends().values()) == {1}
    told["verified"] = node.json("replay", "verify")["ok"]
    until(lambda: (node.home / "store" / "ballast").exists())
    told["count"] = len(acknowledged)
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_holds_work_back_and_loses_nothing(disk_mib: int) -> None:
    told = on_small_disk(SCRIPT, disk_mib, temp_too=True)
    assert int(str(told.pop("count"))) >= 2
    assert told == {"low": "queued", "still": 0, "kept": True, "ends": True, "verified": True}
