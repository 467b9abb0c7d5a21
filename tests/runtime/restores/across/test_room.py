"""The room on the disks of the nodes: the dry run tells it, and what does not fit is refused before anything begins."""

from __future__ import annotations

from pathlib import Path

from maestro.runtime.restores.across.room import Disk, disks_of, mark
from maestro.runtime.restores.plan import Placement
from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB

SCRIPT = """
import json, os, sys
from pathlib import Path
from tests.runtime.acting import Node

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
MIB = 1 << 20
with Node(elsewhere / "a") as a, Node(elsewhere / "b") as b:
    a.up()
    b.env |= {"MAESTRO_REDIS_URL": a.url, "MAESTRO_NAMESPACE": a.namespace}
    a.json("agent", "assign", "shell", "--name", "wide", "--to-workspace", str(elsewhere / "wide"))
    b.json("agent", "assign", "shell", "--name", "narrow", "--to-workspace", str(disk / "narrow"))
    b.up()
    (disk / "narrow" / "content").write_bytes(os.urandom(6 * MIB))
    taken = a.json("state", "snapshot")["id"]
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - 2 * MIB))
    row = json.loads(a.run("state", "restore", taken, "--dry-run").stdout)
    done = a.run("state", "restore", taken)
    told = {
        "disks": [(each["node"] == b.id, each["disk_needed_bytes"] > each["disk_free_bytes"]) for each in row["disks"]],
        "failing": [(each["agent"], each["node"] == b.id) for each in row["failing"]],
        "restore": (done.returncode, " needs 6.3 MB for it" in done.stderr),
        "stopped": len(a.events("agent.stopped")),
        "left out": [each["agent"] for each in a.json("state", "restore", taken, "--skip-failed")["skipped"]],
    }
print(json.dumps(told))
"""


def test_a_node_whose_disk_has_no_room_is_told_and_no_agent_is_stopped_for_it() -> None:
    told = on_small_disk(SCRIPT, DISKS_MIB[0])
    assert told == {
        "disks": [[False, False], [True, True]],
        "failing": [["narrow", True]],
        "restore": [4, True],
        "stopped": 0,
        "left out": ["narrow"],
    }


def test_workspaces_on_one_disk_need_their_room_together(tmp_path: Path) -> None:
    (disk,) = disks_of({str(tmp_path / "a"): 1 << 60, str(tmp_path / "deep" / "b"): 3})
    assert (disk.path, disk.needed) == (str(tmp_path), (1 << 60) + 3)
    both = [
        Placement(agent=name, root="", workspace=path, recorded=path)
        for name, path in zip("ab", disk.workspaces, strict=True)
    ]
    other = Placement(agent="c", root="", workspace="/elsewhere", recorded="")
    mark([*both, other], [disk, Disk("/elsewhere", ("/elsewhere",), 5, 5)])
    assert [bool(each.why_not) for each in (*both, other)] == [True, True, False]
    assert f"the disk of {tmp_path} needs" in both[0].why_not
