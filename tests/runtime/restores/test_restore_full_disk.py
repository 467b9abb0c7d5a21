"""A disk that has no room for a stage, or fills up while one is written: nothing was changed, and the agents go on.

The disk is a small tmpfs in a mount namespace of its own, as in tests/store/embedded/test_server_disk_full.py.
"""

from __future__ import annotations

import pytest

from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB

SCRIPT = """
import json, os, subprocess, sys
from contextlib import suppress
from pathlib import Path
from tests.runtime.acting import Node, until
from tests.workspaces.archive.trees import told as tree

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}
MIB = 1 << 20

def leave(free):
    there = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with suppress(OSError), (disk / "filler").open("ab") as file:  # a restore may be filling it at the same time
        file.write(bytes(max(0, there - free)))

def state():
    return tree(disk / "large"), tree(elsewhere / "small"), sorted(os.listdir(disk)), len(node.events("restore.done"))

with Node(elsewhere / "node") as node:
    for name, place in (("large", disk / "large"), ("small", elsewhere / "small")):
        node.json("agent", "assign", "shell", "--name", name, "--to-workspace", str(place))
        (place / "content").write_bytes(os.urandom(8 * MIB))
    node.json("state", "snapshot")
    for place in (disk / "large", elsewhere / "small"):
        (place / "content").write_bytes(b"changed")
    leave(4 * MIB)
    before = state()
    planned = node.run("state", "restore", "latest", "--dry-run")
    told["foreseen"] = planned.returncode, "for it, and has" in planned.stdout
    full = node.run("state", "restore", "latest")
    told["no room"] = full.returncode, "for it, and has" in full.stderr, state() == before
    (disk / "filler").unlink()
    leave(10 * MIB)
    before = state()
    argv = [sys.executable, "-m", "maestro", "state", "restore", "latest"]
    client = subprocess.Popen(argv, env=node.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: list(disk.glob(".maestro-stage-*")) or client.poll() is not None)
    leave(0)
    _, said = client.communicate(timeout=60)
    told["filled up"] = client.returncode == 0 or state()[:2] == before[:2]
    (disk / "filler").unlink()
    told["agents"] = {row["state"] for row in node.json("agent", "list")} == {"idle"}
    node.json("state", "restore", "latest")
    told["then"] = [os.path.getsize(place / "content") for place in (disk / "large", elsewhere / "small")]
    told["stages"] = list(map(str, [*disk.glob(".maestro*"), *elsewhere.glob(".maestro*")]))
    told["verified"] = node.json("replay", "verify")["ok"]
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_leaves_all_as_it_was(disk_mib: int) -> None:
    told = on_small_disk(SCRIPT, disk_mib)
    assert told == {
        "foreseen": [6, True],
        "no room": [4, True, True],
        "filled up": True,
        "agents": True,
        "then": [8 << 20, 8 << 20],
        "stages": [],
        "verified": True,
    }
