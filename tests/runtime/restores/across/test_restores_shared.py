"""The store is gone, and what several nodes have copied into a shared archive is all that is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import StoreServer
from tests.runtime.acting import Node


def test_a_new_node_finds_the_parts_of_all_nodes_in_the_shared_archive(tmp_path: Path, server: StoreServer) -> None:
    """It said that there is no such snapshot, or that the workspaces of the other nodes are not in it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    env = {"MAESTRO_NAMESPACE": "parts", "MAESTRO_ARCHIVE_URL": shared.as_uri()}
    work = {name: tmp_path / name / "work" for name in ("ann", "ben")}
    there = {"MAESTRO_REDIS_URL": server.url, **env}
    with Node(tmp_path / "a", **there) as a, Node(tmp_path / "b", **there) as b:
        for node, (name, folder) in zip((a, b), work.items(), strict=True):
            node.up().json("agent", "assign", "shell", "--name", name, "--to-workspace", str(folder))
            (folder / "file").write_text(f"of {name}")
        asked = b.json("state", "snapshot")
        assert set(asked["nodes"]) == {a.id, b.id}
        for folder in work.values():
            shutil.rmtree(folder)
        with Node(tmp_path / "alone", MAESTRO_NAMESPACE="parts") as alone:
            shutil.copytree(b.home / "snapshots", alone.home / "snapshots")
            told = alone.run("state", "restore", asked["id"], "--dry-run")
        assert told.stdout, told.stderr
        why = {row["agent"]: row["why_not"] for row in json.loads(told.stdout)["agents"]}
        assert f"node {a.id} has archived it" in why["ann"] and "MAESTRO_ARCHIVE_URL" in why["ann"] and not why["ben"]
        with Node(tmp_path / "c", **env) as c:
            row = c.json("state", "restore", "latest")
            assert row["source"] == asked["id"]
            assert {name: (folder / "file").read_text() for name, folder in work.items()} == {
                name: f"of {name}" for name in work
            }
            c.up()
            assert {each["id"]: each["node"] for each in c.json("agent", "list")} == dict.fromkeys(work, c.id)
            (told,) = [each for each in c.json("state", "snapshots") if each["id"] == asked["id"]]
            assert told["state"] == "complete" and told["node"] in (a.id, b.id)


def test_the_snapshot_that_a_new_node_has_loaded_stays_one(tmp_path: Path) -> None:
    """It was told as failed, as the home there lacks it; then it could not be restored any more, and was collected."""
    (shared := tmp_path / "shared").mkdir()
    env = {"MAESTRO_NAMESPACE": "loaded", "MAESTRO_ARCHIVE_URL": shared.as_uri()}
    work = tmp_path / "work"
    with Node(tmp_path / "a", **env) as a:
        a.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(work))
        (work / "file").write_text("of ann")
        asked = a.json("state", "snapshot")
    shutil.rmtree(work)
    with Node(tmp_path / "b", **env) as b:
        b.json("state", "restore", asked["id"])
        b.up()
        (told,) = [row for row in b.json("state", "snapshots") if row["id"] == asked["id"]]
        assert (told["state"], told["latest"], told["manifest"]) == ("complete", True, asked["manifest"])
        assert b.json("state", "verify", "latest")["snapshot"] == asked["id"]
