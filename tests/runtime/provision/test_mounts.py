"""Mounts in a workspace, as a user meets them: named by snapshots, refused by what would move or empty them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.workspaces.mounted import in_namespace

SCRIPT = """
from tests.installation import Installation
out = outside()
ws, free = place / "ws", place / "free"
with Installation(place / "m") as maestro:
    maestro.agent_type("code")
    for name, folder in (("a", ws), ("b", free)):
        maestro.json("agent", "assign", "code", "--name", name, "--to-workspace", str(folder))
        (folder / "mine").write_text("x")
    first = maestro.json("state", "snapshot")
    told = {"first": first["not_held"]}
    (ws / "data").mkdir(); (ws / "one").touch(); (ws / "tmp").mkdir()
    bind(out, ws / "data"); bind(out / "file", ws / "one"); tmpfs(ws / "tmp")
    done = maestro.run("state", "snapshot")
    told["second"] = done.returncode, json.loads(done.stdout)["not_held"], "is not held" in done.stderr
    told["listed"] = [row["not_held"] for row in maestro.json("state", "snapshots")]
    told["refused"] = []
    for words in (
        ["agent", "reset", "a"],
        ["workspace", "clean", "a"],
        ["state", "restore", first["id"]],
        ["state", "restore", first["id"], "--workspace", str(ws)],
        ["state", "rollback", first["id"], "--skip-verify"],
        ["state", "restore", first["id"], "--dry-run"],
    ):
        done = maestro.run(*words)
        names_all = all(str(ws / name) in done.stderr + done.stdout for name in ("data", "one", "tmp"))
        told["refused"].append((done.returncode, names_all))
    told["whole"] = is_whole(), (ws / "mine").exists(), sorted(os.listdir(ws))
    done = maestro.run("agent", "reset", "b")
    told["other"] = done.returncode, os.listdir(free)
print(json.dumps(told))
"""


def test_mounts_are_named_and_never_moved_or_emptied(tmp_path: Path) -> None:
    told = json.loads(in_namespace(SCRIPT, tmp_path))
    mounts = [f"workspaces/a/{name}" for name in ("data", "one", "tmp")]
    assert (told["first"], told["second"], told["listed"]) == ([], [0, mounts, True], [mounts, []])
    assert told["refused"] == [[4, True]] * 5 + [[6, True]]
    assert told["whole"] == [True, True, ["data", "mine", "one", "tmp"]]
    assert told["other"] == [0, []], "what is mounted in one workspace does not hinder another"
