"""What is kept, for how long, and by whom: snapshots before something is deleted, retention, pins, old run folders."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from maestro import config
from maestro.model.events import AgentReset
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.snapshots import retention
from maestro.workspaces.archive.library import Archive
from tests.runtime.acting import Node

DAY_MS = 86_400_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        (node.folder / "ann" / "work").write_text("hours of work")
        yield node


def restored(node: Node, snapshot: str, tree: str, to: Path) -> list[str]:
    """The files of a tree of a snapshot."""
    Archive(node.home / "snapshots").restore(snapshot, tree, to)
    return sorted(path.name for path in to.iterdir())


def later(node: Node, days: float) -> None:
    """What this node's housekeeping does about snapshots on a day to come."""

    async def work() -> None:
        async with open_context(config.load(node.env, node.folder)) as context:
            await retention.expire(context, await context.now() + int(days * DAY_MS))

    trio.run(work)


def test_a_reset_keeps_what_it_clears(node: Node, tmp_path: Path) -> None:
    done = node.run("agent", "reset", "ann")
    assert done.returncode == 0, done.stderr
    assert not (node.folder / "ann" / "work").exists()
    (row,) = node.json("state", "snapshots")
    assert (row["reason"], row["automatic"], row["agents"]) == ("reset", True, ["ann"])
    assert row["expires_at"] and not row["latest"]
    assert f"maestro state restore {row['id']} --workspace {node.folder / 'ann'}" in done.stderr
    (reset,) = node.events("agent.reset")
    assert isinstance(reset.fact, AgentReset) and reset.fact.snapshot == row["id"]
    assert restored(node, row["id"], "workspaces/ann", tmp_path / "there") == ["work"]
    node.json("agent", "reset", "ann")
    assert len(node.json("state", "snapshots")) == 1, "there was nothing to keep"


def test_cleaning_a_workspace_keeps_what_it_deletes(node: Node, tmp_path: Path) -> None:
    answer = node.json("workspace", "clean", "ann")
    assert (answer["files_removed"], list((node.folder / "ann").iterdir())) == (1, [])
    assert restored(node, answer["snapshot"], "workspaces/ann", tmp_path / "there") == ["work"]
    assert node.json("state", "snapshots")[0]["reason"] == "clean"


def test_nothing_is_deleted_that_cannot_be_kept(node: Node) -> None:
    (node.home / "snapshots").mkdir(exist_ok=True)
    shutil.rmtree(node.home / "snapshots")
    (node.home / "snapshots").write_text("in the way")
    for words in (("agent", "reset", "ann"), ("workspace", "clean", "ann")):
        done = node.run(*words)
        assert done.returncode == 2, done.stderr
        assert (node.folder / "ann" / "work").read_text() == "hours of work"


def test_retention_deletes_automatic_ones_gives_back_their_room_and_leaves_the_rest(node: Node) -> None:
    (node.folder / "ann" / "bulk").write_bytes(os.urandom(3_000_000))
    automatic = node.json("workspace", "clean", "ann")["snapshot"]
    (node.folder / "ann" / "work").write_text("more work")
    pinned = node.json("workspace", "clean", "ann")["snapshot"]
    assert node.json("state", "pin", pinned)["pinned"]
    (node.folder / "ann" / "work").write_text("even more work")
    asked = node.json("state", "snapshot")["id"]
    exported = node.json("state", "snapshot", "--output", str(node.folder / "x.tar.gz"))["id"]
    before = size(node)
    later(node, 6.9)
    assert {row["id"] for row in node.json("state", "snapshots")} == {automatic, pinned, asked, exported}
    later(node, 7.1)
    assert {row["id"] for row in node.json("state", "snapshots")} == {pinned, asked}
    assert {row["id"] for row in node.json("state", "snapshots", "--all") if row["state"] == "expired"} == {
        automatic,
        exported,
    }
    assert {one.snapshot for one in Archive(node.home / "snapshots").snapshots()} == {pinned, asked}
    assert before - size(node) > 2_500_000
    assert all(node.json("state", "verify", name)["ok"] for name in (pinned, asked, str(node.folder / "x.tar.gz")))
    for words in (("state", "verify", automatic), ("state", "pin", automatic)):
        done = node.run(*words)
        assert (done.returncode, "expired" in done.stderr) == (4, True)
    node.json("state", "unpin", pinned)
    later(node, 7.1)
    assert [row["id"] for row in node.json("state", "snapshots")] == [asked]


def size(node: Node) -> int:
    return sum(path.stat().st_size for path in (node.home / "snapshots" / "packs").iterdir())


def test_snapshots_that_this_log_does_not_know_are_never_deleted(node: Node) -> None:
    """Another namespace's, or those of a log that was flushed: the last of what there was."""
    Archive(node.home / "snapshots").save([("workspaces/x", str(node.folder / "ann"))], "s-elsewhere", {})
    automatic = node.json("workspace", "clean", "ann")["snapshot"]
    later(node, 8)
    assert [one.snapshot for one in Archive(node.home / "snapshots").snapshots()] == ["s-elsewhere"]
    assert automatic not in {row["id"] for row in node.json("state", "snapshots")}


def test_a_workspace_in_an_old_run_folder_is_archived_before_it_goes(node: Node, tmp_path: Path) -> None:
    task = node.dispatch("echo result > file", "--to", "shell", "--sync")["id"]
    folder = node.root / "shell" / task
    assert (folder / "workspace" / "file").exists()
    old = time.time() - 8 * 86_400
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (old, old), follow_symlinks=False)
    cleaned = node.json("shutdown", "--grace-period", "1")["cleaned"]
    assert cleaned == [str(folder)] and not folder.exists()
    (row,) = node.json("state", "snapshots")
    assert (row["reason"], row["automatic"]) == ("cleanup", True)
    assert row["workspaces"][0]["workspace"] == str(folder / "workspace")
    assert restored(node, row["id"], f"runs/shell/{task}", tmp_path / "there") == ["file"]
    back = ("state", "restore", row["id"], "--workspace", str(folder / "workspace"))
    node.json(*back)
    assert (folder / "workspace" / "file").read_text() == "result\n"
    assert node.json("replay", "verify")["ok"]
    done = node.run(*back)
    assert (done.returncode, "the folder of the runs of agent shell" in done.stderr) == (4, True), "it is there"


def test_what_was_taken_for_a_file_is_never_latest_and_expires_whatever_the_log_knows(
    node: Node, tmp_path: Path
) -> None:
    """The snapshot itself says so: after a flush, and in the log that it holds, which ends before it was complete."""
    asked = node.json("state", "snapshot")["id"]
    export = str(tmp_path / "v.tar.gz")
    filed = node.json("state", "snapshot", "--output", export)["id"]
    foreign = ("--replace-foreign", str(node.folder / "ann"))
    for _ in range(2):
        assert node.json("state", "verify", "latest")["snapshot"] == asked
        node.json("redis", "flush", "--confirm", node.namespace, "--no-backup")
        assert node.json("state", "verify", "latest")["snapshot"] == asked
        node.json("state", "restore", export, *foreign)
        node.up()
        rows = {row["id"]: row for row in node.json("state", "snapshots")}
        assert (rows[filed]["latest"], rows[filed]["path"]) == (False, export) and rows[filed]["expires_at"]
        assert rows[asked]["latest"] and rows[asked]["expires_at"] is None
        assert (node.home / "snapshots/latest").readlink().name == asked


def test_what_the_agents_have_printed_needs_a_file_to_go_to(node: Node) -> None:
    refused = node.run("state", "snapshot", "--include-logs")
    assert refused.returncode == 2 and "--output" in refused.stderr
    assert node.json("state", "snapshots") == []
