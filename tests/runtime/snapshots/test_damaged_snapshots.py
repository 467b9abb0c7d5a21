"""A snapshot store in which bits have flipped, as its users meet it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro import config
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.snapshots import scrub
from tests.runtime.acting import Node
from tests.workspaces.archive.rotting import flip, flip_largest


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        for agent in ("ann", "ben"):
            workspace = node.folder / agent
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(workspace))
            (workspace / "mine").write_text(f"of {agent}")
        (node.folder / "ann" / "large").write_bytes(os.urandom(1 << 20))
        time.sleep(0.1)  # what was changed just now is not believed to be unchanged
        node.json("state", "snapshot")
        yield node


def damaged(node: Node) -> dict[str, str]:
    rows = node.json("state", "snapshots")
    return {row["id"]: row["damaged"]["why"] for row in rows if row["damaged"]}


def row_of(node: Node, check: str) -> dict[str, Any]:
    rows = {row["check"]: row for row in json.loads(node.run("doctor").stdout)}
    found: dict[str, Any] = rows[check]
    return found


def scrubbed(node: Node) -> None:
    """A minute of the housekeeping of this node."""

    async def work() -> None:
        async with open_context(config.load(node.env, node.folder)) as context:
            await scrub.go_on(context, 60.0)

    trio.run(work)


def test_it_is_found_by_the_scrub_told_and_mended_by_the_next_snapshot(node: Node) -> None:
    first = node.json("state", "snapshots")[0]["id"]
    flip_largest(node.home / "snapshots")
    second = node.json("state", "snapshot")["id"]
    assert damaged(node) == {}, "nobody has read it"
    assert "never read since they were written" in row_of(node, "snapshots")["detail"]
    scrubbed(node)
    assert damaged(node) == dict.fromkeys((first, second), "workspaces/ann/large cannot be read whole")
    told = row_of(node, "snapshots")
    assert told["status"] == "warning" and first in told["detail"] and "state verify --all" in told["remedy"]
    refused = node.run("state", "restore", "latest")
    assert refused.returncode == 6 and "--skip-failed" in refused.stderr and "new snapshot" in refused.stderr
    done = node.run("state", "snapshot")
    assert f"snapshot {first} was damaged, and is whole again" in done.stderr
    assert damaged(node) == {} and row_of(node, "snapshots")["status"] == "ok"
    for name in (first, second, "latest"):
        assert node.json("state", "verify", name)["ok"]
    (node.folder / "ann" / "large").unlink()
    node.json("state", "restore", first)
    assert (node.folder / "ann" / "large").stat().st_size == 1 << 20


@pytest.mark.parametrize("only", [(), ("--workspace", "ann")])
def test_what_is_whole_comes_back_and_the_rest_is_listed(node: Node, only: tuple[str, ...]) -> None:
    first = node.json("state", "snapshots")[0]["id"]
    flip_largest(node.home / "snapshots")
    (node.folder / "ann" / "large").unlink()
    (node.folder / "ann" / "mine").write_text("changed")
    assert node.run("state", "restore", first, *only).returncode == 6
    assert (node.folder / "ann" / "mine").read_text() == "changed"
    planned = node.run("state", "restore", first, "--skip-failed", "--dry-run", *only)
    assert planned.returncode == 6 and json.loads(planned.stdout)["damaged"][0]["path"] == "large"
    done = node.run("state", "restore", first, "--skip-failed", *only)
    assert done.returncode == 6, done.stderr
    row = json.loads(done.stdout)
    lost = [{key: each[key] for key in ("agent", "workspace", "path")} for each in row["damaged"]]
    assert lost == [{"agent": "ann", "workspace": str(node.folder / "ann"), "path": "large"}]
    assert row["damaged"][0]["why"] and row["skipped"] == []
    assert (node.folder / "ann" / "mine").read_text() == "of ann"
    assert not (node.folder / "ann" / "large").exists(), "nothing is put in its place"


def test_a_file_that_is_in_the_workspace_still_is_whole_in_what_is_restored(node: Node) -> None:
    """What is there now is kept first, and so kept anew."""
    first = node.json("state", "snapshots")[0]["id"]
    flip_largest(node.home / "snapshots")
    (node.folder / "ann" / "mine").write_text("changed")
    was = (node.folder / "ann" / "large").read_bytes()
    row = node.json("state", "restore", first, "--skip-failed")
    assert row["damaged"] == [] and (node.folder / "ann" / "mine").read_text() == "of ann"
    assert (node.folder / "ann" / "large").read_bytes() == was


def test_of_which_nothing_is_whole_is_not_put_back(node: Node) -> None:
    (node.folder / "ben" / "mine").unlink()
    node.json("agent", "reset", "ben")
    (node.folder / "ben" / "only").write_bytes(os.urandom(300_000))
    time.sleep(0.1)
    taken = node.json("state", "snapshot", "--workspace", "ben")["id"]
    pack = max((node.home / "snapshots/packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    flip(pack, 1000)
    (node.folder / "ben" / "only").write_text("newer")
    for words in (("--workspace", "ben"), ("--workspace", "ben", "--skip-failed")):
        done = node.run("state", "restore", taken, *words)
        assert done.returncode == 6 and done.stdout == "", words
    assert "none of its files is whole" in done.stderr and "snapshots" in done.stderr
    assert (node.folder / "ben" / "only").read_text() == "newer"
    assert node.json("agent", "list")[1]["state"] == "idle"


def test_all_of_it_is_verified_at_once_where_that_is_asked_for(node: Node, tmp_path: Path) -> None:
    first = node.json("state", "snapshots")[0]["id"]
    whole = node.json("state", "verify", "--all")
    assert whole["ok"] and whole["packs"] == 1 and whole["bytes"] > 1 << 20
    assert "never" not in row_of(node, "snapshots")["detail"]
    pack = flip_largest(node.home / "snapshots")
    done = node.run("state", "verify", "--all")
    found = json.loads(done.stdout)
    assert (done.returncode, found["quarantined"]) == (6, 1)
    assert [each["snapshot"] for each in found["damaged"]] == [first]
    flip_largest(node.home / "snapshots")  # as it was
    assert pack.exists()
    again = node.json("state", "verify", "--all")
    assert again["ok"] and again["released"] == 1 and damaged(node) == {}


def test_a_damaged_manifest_and_one_that_is_gone_are_told(node: Node) -> None:
    first = node.json("state", "snapshots")[0]["id"]
    manifest = node.home / "snapshots/manifests" / first
    flip(manifest, 30)
    assert "manifest" in damaged(node)[first] and row_of(node, "snapshots")["status"] == "warning"
    refused = node.run("state", "restore", first, "--skip-failed")
    assert refused.returncode == 6 and "use another snapshot" in refused.stderr
    manifest.unlink()
    assert "not in the snapshot store any more" in damaged(node)[first]
    assert row_of(node, "snapshots")["status"] == "ok", "who removes it has given it up"


def test_a_log_is_loaded_though_a_workspace_is_damaged_where_that_is_asked_for(node: Node) -> None:
    first = node.json("state", "snapshots")[0]["id"]
    flip_largest(node.home / "snapshots")
    (node.folder / "ann" / "large").unlink()
    node.json("redis", "flush", "--confirm", node.namespace, "--no-backup")
    assert node.run("state", "restore", first).returncode == 6
    assert node.run("agent", "list").stdout.strip() == "[]"
    foreign = [word for name in ("ann", "ben") for word in ("--replace-foreign", str(node.folder / name))]
    done = node.run("state", "restore", first, "--skip-failed", *foreign)  # nobody's any more after the flush
    assert done.returncode == 6, done.stderr
    assert [each["path"] for each in json.loads(done.stdout)["damaged"]] == ["large"]
    assert [agent["id"] for agent in node.json("agent", "list")] == ["ann", "ben"]
