"""A disk that fills up ends the work in one line, and what was there before is as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.store.embedded.test_server_disk_full import DISKS_MIB, UNSHARE

SCRIPT = """
import json, os, sys
from pathlib import Path
from maestro.model.errors import Refused
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.exchanges.exchange import Exchange

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}

def free():
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize

def refused(act):
    try:
        act()
    except Refused as error:
        return "room" in error.line()
    return False

workspace = elsewhere / "ws"
workspace.mkdir()
(workspace / "first").write_bytes(os.urandom(4 << 20))
for number in range(200):
    (workspace / f"small-{number}").write_bytes(os.urandom(5000))
archive = Archive(disk / "store")
archive.save([("ws", str(workspace))], "one", {})
(workspace / "second").write_bytes(os.urandom(free() + (1 << 20)))
told["save"] = refused(lambda: archive.save([("ws", str(workspace))], "two", {}))
told["one"] = archive.verify("one").files
child_process.cores, child_process.FROM_FILES = lambda: 2, 50
many = elsewhere / "many"
many.mkdir()
for number in range(max(600, free() // 30_000 + 50)):
    (many / str(number)).write_bytes(os.urandom(30_000))
told["readers"] = refused(lambda: archive.save([("many", str(many))], "many", {}))
told["still"] = archive.verify("one").files
(workspace / "second").unlink()

(disk / "work").mkdir()
(disk / "work" / "mine").write_text("mine")
with (disk / "filler").open("wb") as filler:
    filler.write(bytes(max(0, free() - (3 << 20))))
def restore():
    with Exchange(disk / "journal") as one:
        archive.restore("one", "ws", one.stage(disk / "work"))
        one.commit()
told["restore"] = refused(restore)
told["work"] = os.listdir(disk / "work")
(disk / "out").write_text("before")
told["export"] = refused(lambda: archive.export("one", disk / "out"))
told["out"] = (disk / "out").read_text()

with (disk / "filler").open("wb") as filler:
    filler.write(bytes(max(0, free() - (1 << 20))))
for number in range(150):
    (workspace / f"small-{number}").unlink()
(workspace / "first").unlink()
archive.save([("ws", str(workspace))], "three", {})
with (disk / "filler").open("ab") as filler:
    filler.write(bytes(max(0, free() - 4096)))
told["collect"] = refused(lambda: archive.collect(["three"]))
told["three"] = archive.verify("three").files
(disk / "filler").unlink()
archive.collect(["three"])
told["again"] = archive.verify("three").files
told["left"] = sorted(os.listdir(disk))
told["fresh"] = os.listdir(disk / "store" / "fresh")
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_leaves_what_was_there(disk_mib: int) -> None:
    assert disk_mib
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere:
        mount = 'mount -t tmpfs -o size=16m none "$1" && exec "$2" -c "$3" "$1" "$4"'
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", mount, "sh", folder, sys.executable, SCRIPT, elsewhere],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": "."},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told == {
        "save": True,
        "one": 201,
        "readers": True,
        "still": 201,
        "restore": True,
        "work": ["mine"],
        "export": True,
        "out": "before",
        "collect": True,
        "three": 50,
        "again": 50,
        "left": ["journal", "out", "store", "work"],
        "fresh": [],
    }
