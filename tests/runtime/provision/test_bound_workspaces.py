"""A workspace that cannot be moved, as a user meets it: the root of a dev container's volume, kept and brought back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workspaces.mounted import in_namespace

SCRIPT = """
from tests.runtime.acting import Node
from tests.workspaces.archive import trees
trees.IS_ROOT = False  # only one owner is known in here
ws = place / "ws"
(place / "below").mkdir(); ws.mkdir()
{mount}
def contents():
    return {{path: each for path, each in trees.told(ws).items() if path}}
with Node(place / "m") as maestro:
    maestro.json("agent", "assign", "shell", "--name", "a", "--to-workspace", str(ws))
    trees.fill(ws / "tree"); (ws / "mine").write_text("x")
    before, told = contents(), {{}}
    kept = maestro.json("state", "snapshot")["id"]
    (ws / "mine").unlink(); (ws / "tree/one").write_text("changed"); (ws / "new").write_text("new")
    changed = contents()
    told["dry run"] = maestro.run("state", "restore", kept, "--dry-run").returncode
    maestro.dispatch("exec sleep 300", "--to", "a")
    done = maestro.run("state", "restore", kept)
    told["restored"] = done.returncode, contents() == before, done.stderr
    undo = json.loads(done.stdout)["before"]
    told["undone"] = maestro.run("state", "restore", undo, "--workspace", str(ws)).returncode, contents() == changed
    told["reset"] = maestro.run("agent", "reset", "a").returncode, os.listdir(ws)
    last = maestro.json("state", "snapshots")[0]["id"]
    told["back"] = maestro.run("state", "rollback", last, "--workspace", "a").returncode, contents() == changed
    told["clean"] = maestro.run("workspace", "clean", "a").returncode, os.listdir(ws)
    maestro.json("agent", "restart", "a")
    told["runs"] = maestro.dispatch("echo x > made", "--to", "a", "--sync")["status"], os.listdir(ws)
    told["verified"] = maestro.json("replay", "verify")["ok"]
    told["journal"] = os.listdir(maestro.home / "restore/exchange")
print(json.dumps(told))
"""


@pytest.mark.parametrize("mount", ["bind(place / 'below', ws)", "tmpfs(ws)"])
def test_what_cannot_be_moved_is_kept_brought_back_and_cleared(mount: str, tmp_path: Path) -> None:
    told = json.loads(in_namespace(SCRIPT.format(mount=mount), tmp_path))
    assert told["dry run"] == 0
    assert told["restored"][:2] == [0, True], told["restored"][2]
    assert (told["undone"], told["reset"], told["back"]) == ([0, True], [0, []], [0, True])
    assert (told["clean"], told["runs"]) == ([0, []], ["completed", ["made"]])
    assert told["verified"] and told["journal"] == ["lock"]


COVERED = """
from tests.runtime.acting import Node
ws = place / "ws"
with Node(place / "m") as maestro:
    maestro.json("agent", "assign", "shell", "--name", "a", "--to-workspace", str(ws))
    (ws / "mine").write_text("x")
    maestro.json("state", "snapshot")
    tmpfs(ws)
    done = maestro.run("state", "snapshot")
    told = {"covered": (done.returncode, "is now a mount point, and was none" in done.stderr)}
    (ws / "theirs").write_text("gold")
    done = maestro.run("state", "restore", "latest", "--workspace", "a")
    refused = "is now a mount point" in done.stderr and "could not be kept" in done.stderr
    told["not replaced"] = (done.returncode, refused, os.listdir(ws))
    maestro.json("agent", "assign", "shell", "--name", "a", "--to-workspace", str(ws))
    told["meant"] = maestro.run("state", "snapshot").returncode
    subprocess.run(["umount", str(ws)], check=True)
    done = maestro.run("state", "snapshot")
    told["uncovered"] = (done.returncode, "is no mount point any more" in done.stderr)
    told["allowed"] = maestro.json("state", "snapshot", "--allow-missing")["missing"][0]["agent"]
print(json.dumps(told))
"""


def test_a_mount_that_covers_or_is_missing_is_no_complete_snapshot(tmp_path: Path) -> None:
    told = json.loads(in_namespace(COVERED, tmp_path))
    assert told.pop("not replaced") == [4, True, ["theirs"]], "what no snapshot holds is not replaced"
    assert told == {"covered": [4, True], "meant": 0, "uncovered": [4, True], "allowed": "a"}
