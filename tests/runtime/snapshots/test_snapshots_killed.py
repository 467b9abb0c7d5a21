"""A daemon that is killed at any instant of a snapshot or an export, and a disk that fills up in one: old or new.

KILLS=300 kills it that often. The seed is in the test's name, so that a failure can be run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

import pytest

from maestro.runtime.supervision.processes import state
from tests.runtime.acting import Node, marked, until
from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB

MAESTRO = (sys.executable, "-m", "maestro")
KILLS = int(os.environ.get("KILLS", "8"))
LONGEST_S = 0.45
"""Longer than a snapshot with its export takes here."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("killed")) as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        node.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(node.folder / "ben"))
        for number in range(300):
            (node.folder / "ben" / f"small-{number}").write_bytes(os.urandom(3000))
        yield node


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_daemon_leaves_the_old_ones_and_none_or_all_of_the_new_one(node: Node, seed: int) -> None:
    random = Random(seed)
    node.up()
    (node.folder / "ben" / "large").write_bytes(random.randbytes(8 << 20))
    before = {row["id"] for row in node.json("state", "snapshots")}
    mark = f"killed-{seed}-{os.urandom(4).hex()}"
    task = node.dispatch(f"exec env MARK={mark} sh -c 'while :; do date > now; done'", "--to", "ann")["id"]
    until(lambda: marked(mark))
    out = node.folder / "out.tar.gz"
    was = out.read_bytes() if out.exists() else None
    words = ("--output", str(out)) if random.random() < 0.6 else ()
    words += ("--rolling",) if random.random() < 0.3 else ()
    env = {**node.env, "MAESTRO_AUTOSTART": "false"}
    taking = subprocess.Popen([*MAESTRO, "state", "snapshot", *words], env=env, stdout=-1, stderr=-1, text=True)
    time.sleep(random.uniform(0.05, LONGEST_S))
    node.kill()
    answer, told = taking.communicate(timeout=60)
    until(lambda: not marked(mark))

    node.up()
    frozen = [pid for pid in marked(mark) if state(pid) == "T"]
    node.json("task", "cancel", task)  # it is run again, and the next trial needs its agent
    assert frozen == []
    assert [path.name for path in (node.home / "taking").iterdir()] == ["lock"]
    assert list(node.home.glob("snapshots/fresh/*")) == []
    assert [path.name for path in node.folder.iterdir() if path.name.startswith(".out")] == []
    rows = node.json("state", "snapshots", "--all")
    assert {row["state"] for row in rows} <= {"complete", "failed"}
    complete = [row["id"] for row in rows if row["state"] == "complete"]
    assert before <= set(complete) and len(complete) - len(before) <= 1
    if taking.returncode == 0:
        assert json.loads(answer)["id"] in complete, "what was said to be taken is there"
    else:
        assert told.strip()
    for name in complete[:2]:
        assert node.json("state", "verify", name)["ok"]
    assert was is None or out.exists()
    if out.exists():
        proved = node.json("state", "verify", str(out))
        assert out.read_bytes() == was or proved["snapshot"] not in before


SCRIPT = """
import json, os, subprocess, sys
from pathlib import Path
from tests.runtime.acting import Node

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}

def fill(leave):
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(0, free - leave)))

with Node(elsewhere / "node") as node:
    (disk / "snapshots").mkdir(mode=0o700)
    (node.home / "snapshots").mkdir(mode=0o700)
    subprocess.run(["mount", "--bind", disk / "snapshots", node.home / "snapshots"], check=True)
    ann = node.folder / "ann"
    node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(ann))
    (ann / "first").write_bytes(os.urandom(1 << 20))
    one = node.json("state", "snapshot")["id"]
    (ann / "second").write_bytes(os.urandom(8 << 20))
    fill(3 << 20)
    full = node.run("state", "snapshot")
    told["save"] = [full.returncode, "make room" in full.stderr]
    refused = node.run("workspace", "clean", "ann")
    told["clean"] = [refused.returncode, sorted(os.listdir(ann))]
    (disk / "filler").unlink()
    two = node.json("state", "snapshot")["id"]
    out = disk / "out.tar.gz"
    out.write_bytes(b"before")
    fill(1 << 20)
    (ann / "third").write_bytes(b"small")
    full = node.run("state", "snapshot", "--output", str(out))
    told["export"] = [full.returncode, "make room" in full.stderr, out.read_bytes() == b"before"]
    told["beside"] = sorted(os.listdir(disk))
    told["states"] = [row["state"] for row in node.json("state", "snapshots", "--all")]
    told["kept"] = [row["id"] for row in node.json("state", "snapshots")] == [two, one]
    told["verified"] = [node.json("state", "verify", name)["ok"] for name in (one, two)]
    node.json("agent", "restart", "ann")
    told["goes on"] = node.dispatch("echo on", "--to", "ann", "--sync")["status"]
    (disk / "filler").unlink()
    told["again"] = node.json("state", "snapshot")["state"]
    subprocess.run(["umount", "-l", node.home / "snapshots"], check=True)
print(json.dumps(told))
"""


NEARLY_FULL = """
import json, os, sys, tempfile
from pathlib import Path
from tests.runtime.acting import Node

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
tempfile.tempdir = str(disk)  # where the home will lie, and with it the store
told = {}
with Node(elsewhere / "node") as node:
    ann = node.folder / "ann"
    node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(ann))
    one = node.json("state", "snapshot")["id"]
    for number in range(100):
        (ann / str(number)).write_bytes(os.urandom(1 << 20))
    done = node.run("state", "snapshot")
    told["refused"] = [done.returncode, "make room" in done.stderr]
    told["free"] = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 1 << 20
    told["store"] = node.json("state", "set", "k", "v")["key"]
    told["incidents"] = (node.home / "store" / "incidents").exists()
    told["kept"] = [row["id"] for row in node.json("state", "snapshots")] == [one]
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_snapshot_leaves_the_store_the_room_that_it_needs(disk_mib: int) -> None:
    assert on_small_disk(NEARLY_FULL, disk_mib) == {
        "refused": [4, True],
        "free": True,
        "store": "k",
        "incidents": False,
        "kept": True,
    }


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_fails_the_snapshot_and_leaves_the_older_ones(disk_mib: int) -> None:
    assert disk_mib
    assert on_small_disk(SCRIPT, 16) == {
        "save": [4, True],
        "clean": [4, ["first", "second"]],
        "export": [4, True, True],
        "beside": ["filler", "out.tar.gz", "snapshots"],
        "states": ["failed", "complete", "failed", "failed", "complete"],
        "kept": True,
        "verified": [True, True],
        "goes on": "completed",
        "again": "complete",
    }
