"""A fork: a namespace of its own that begins with the history of another one, made at once or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maestro.model.errors import Refused
from maestro.model.forks.fork import Branch
from maestro.runtime.restores.forks.own_places import BRANCH
from maestro.runtime.restores.forks.site import SUFFIX, ForkSite, without_secrets
from tests.conftest import StoreServer
from tests.installation import left_behind
from tests.runtime.acting import Node, until
from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB

ROOT = Path(__file__).parents[3]
FULL_DISK = """
import json, os, sys
from pathlib import Path
from tests.runtime.acting import Node

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
MIB = 1 << 20
with Node(elsewhere / "node") as node:
    node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(elsewhere / "work"))
    (elsewhere / "work" / "content").write_bytes(os.urandom(6 * MIB))
    node.json("state", "snapshot")
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - 9 * MIB))  # the archive, not the workspace
    done = node.run("fork", "--into", "trial", "--root", str(disk / "trial"))
    print(json.dumps({"code": done.returncode, "told": "make room" in done.stderr, "left": os.listdir(disk)}))
"""


class Fork:
    """The fork of a node in a folder, used as its `env` says."""

    def __init__(self, node: Node, name: str) -> None:
        self.node, self.name = node, f"{name}-{os.urandom(3).hex()}"
        self.root = node.folder / "forks" / name
        self.words = ("fork", "--into", self.name, "--root", str(self.root))

    @property
    def env(self) -> dict[str, str]:
        shell = subprocess.run(
            ["sh", "-c", ". ./env && env -0"], cwd=self.root, env=self.node.env, capture_output=True, check=True
        )
        return dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line.startswith("MAESTRO_"))

    def json(self, *words: str) -> Any:
        return self.node.json(*words, **self.env)

    def made(self, *words: str) -> Any:
        row = self.node.json(*self.words, *words)
        assert row["root"] == str(self.root) and not self.stage.exists()
        return row

    @property
    def stage(self) -> Path:
        return self.root.with_name(self.root.name + SUFFIX)

    def check_whole(self) -> None:
        assert self.json("replay", "verify")["ok"] and self.node.json("replay", "verify")["ok"]
        (row,) = self.json("agent", "list")
        assert (row["workspace"], row["state"]) == (f"{self.root}/agents/ann", "idle")
        assert (self.root / "agents" / "ann" / "mine").read_text() == "kept"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Node]:
    """A node whose daemon is down: with an agent, a snapshot of its workspace, what came since, and an open task."""
    with Node(tmp_path_factory.mktemp("forks"), MAESTRO_REDIS_URL=server.url) as node:
        work = node.folder / "work"
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(work))
        (work / "mine").write_text("kept")
        node.json("state", "snapshot")
        node.json("schedule", "add", "nightly", "--cron", "0 3 * * *", "--", "state", "snapshot")
        node.dispatch("echo now > mine", "--to", "ann", "--sync")
        node.dispatch("sleep 600", "--to", "ann", "--async")
        until(lambda: node.events("run.started")[-1].seq > node.events("run.ended")[-1].seq)
        yield node


def test_a_fork_goes_its_own_way(node: Node) -> None:
    """Made while the daemon works. What happens in it touches nothing of where it came from, and the reverse."""
    before, fork = node.events(), Fork(node, "own")
    row = fork.made()
    again = node.run(*fork.words)
    assert again.returncode == 4 and f"the fork {fork.name} of" in again.stderr and "is there already" in again.stderr
    assert f"`. {fork.root}/env` has a shell use it" in again.stderr
    assert fork.env["MAESTRO_SEGMENTS_DIR"] == f"{fork.root}/home/segments"
    assert [each.seq for each in node.events()] == [each.seq for each in before]  # nothing was changed
    assert len(row["cancelled"]) == 1 and row["schedules_disabled"] == ["nightly"] and len(row["snapshots"]) == 1
    fork.check_whole()
    assert [each["next_at"] for each in fork.json("schedule", "list")] == [None]
    task = fork.json("task", "dispatch", "pwd; echo new > mine", "--to", "ann", "--sync")
    assert task["runs"][0]["result"] == f"{fork.root}/agents/ann"
    assert (node.folder / "work" / "mine").read_text() == "now\n"

    snapshots = node.home / "snapshots"
    snapshots.rename(node.home / "away")  # as if all of them had expired there
    try:
        for position in ("latest", "--at=4", f"--at={row['position']}"):  # of what was before the fork, too
            done = fork.json("state", "restore", position, "--skip-failed")
            assert done["workspaces"] or done["skipped"]
            (agent,) = fork.json("agent", "list")
            assert agent["workspace"] == f"{fork.root}/agents/ann"
            assert (fork.root / "agents" / "ann" / "mine").read_text() == "kept"
            assert not any(each["enabled"] for each in fork.json("schedule", "list"))
            assert not fork.json("queue", "status")  # what was open at that position stays ended, too
        assert fork.json("schedule", "list")
    finally:
        shutil.rmtree(snapshots, ignore_errors=True)
        (node.home / "away").rename(snapshots)
    assert (node.folder / "work" / "mine").read_text() == "now\n"
    assert fork.json("replay", "verify")["ok"]
    fork.json("shutdown", "--keep", "--grace-period", "1")
    assert node.json("task", "list", "--status", "running")  # as before


def test_a_fork_at_a_position_has_the_history_up_to_there(node: Node) -> None:
    fork = Fork(node, "then")
    (snapshot,) = node.json("state", "snapshots")
    at = ("--at", str(snapshot["position"]))
    plan = node.json(*fork.words, *at, "--dry-run")
    assert not fork.root.parent.exists() or not [*fork.root.parent.glob(f"{fork.root.name}*")]  # nothing was made
    row = fork.made(*at)
    workspaces = [{**each, "bytes": len("kept")} for each in row["workspaces"]]
    assert {name: plan[name] for name in row} == {**row, "workspaces": workspaces}
    packs = [*(fork.root / "home" / "snapshots" / "packs").iterdir()]
    assert plan["archives"] == {"files": len(packs) + 1, "bytes": sum(each.stat().st_size for each in packs)}
    assert plan["disk_free_bytes"] > 0
    assert plan["disk_needed_bytes"] == plan["archives"]["bytes"] + 4
    assert [each["events_apart"] for each in row["workspaces"]] == [0]
    assert [each["state"] for each in fork.json("state", "snapshots")] == ["complete"]  # it was being taken then
    assert fork.json("task", "list") == []
    assert fork.json("state", "verify", snapshot["id"])["ok"]
    fork.check_whole()


@pytest.mark.parametrize(
    ("into", "root", "told", "code"),
    [
        ("a b", "f1", "--into: 'a b' is no namespace", 2),
        (None, "f1", "is this namespace itself", 2),
        ("two", "work", "--root: '{}/work' is the workspace of agent ann", 4),
        ("two", "work/below", "--root: '{}/work/below' lies inside the workspace of agent ann", 4),
        ("two", "root", "--root: '{}/root' is or contains MAESTRO_WORKSPACE_ROOT", 4),
        ("two", "bin", "--root: {}/bin is not empty", 4),
        ("two", "bin/kilo", "--root: '{}/bin/kilo' is a file", 4),
        ("two", "/", "--root: '/' is the root of the file system", 4),
    ],
)
def test_what_cannot_be_a_fork_is_refused(node: Node, into: str | None, root: str, told: str, code: int) -> None:
    done = node.run("fork", "--into", into or node.namespace, "--root", str(node.folder / root))
    assert done.returncode == code and told.format(node.folder) in done.stderr
    assert done.stderr.count("\n") == 1 and not (node.folder / "f1").exists()


def test_a_fork_keeps_nothing_where_the_file_of_settings_says(node: Node, tmp_path: Path) -> None:
    """That names the places of the namespace that it comes from: what one of both collects may be the other's."""
    fork = Fork(node, "places")
    fork.made("--at", "3")
    file = tmp_path / "maestro" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'archive_url = "file://{tmp_path}/a"\nsegments_dir = "{tmp_path}/s"\n')
    used = fork.env | {"XDG_CONFIG_HOME": str(tmp_path)}
    shown = {each["name"]: each["value"] for each in node.json("config", "show", **used)}
    assert shown["MAESTRO_ARCHIVE_URL"] is None
    assert shown["MAESTRO_SEGMENTS_DIR"] == f"{fork.root}/home/segments"
    assert node.json("events", "tail", "--limit", "1", **used)
    bare = {name: value for name, value in used.items() if name not in ("MAESTRO_ARCHIVE_URL", "MAESTRO_SEGMENTS_DIR")}
    refused = node.run("replay", "verify", **bare)
    assert refused.returncode == 4 and f"`. {fork.root}/env` sets its own" in refused.stderr, refused.stderr
    assert "archive_url and segments_dir would be those of the namespace" in refused.stderr
    assert not (tmp_path / "a").exists() and not (tmp_path / "s").exists()


def test_a_restore_over_several_nodes_of_a_fork_leaves_schedules_off(node: Node, tmp_path: Path) -> None:
    fork = Fork(node, "nodes")
    fork.made()
    with Node(tmp_path, MAESTRO_REDIS_URL=node.url, MAESTRO_NAMESPACE=fork.name) as other:
        other.json("agent", "assign", "shell", "--name", "bob", "--to-workspace", str(tmp_path / "work"))
        fork.json("up")
        at = next(event.seq for event in node.events("schedule.added"))
        other.json("state", "restore", f"--at={at}", "--skip-failed")
        assert [each["enabled"] for each in other.json("schedule", "list")] == [False]
        assert any(event.type == "restore.asked" for event in other.events()), "of all nodes together"
        fork.json("shutdown", "--keep", "--grace-period", "1")


def test_a_namespace_with_a_log_is_never_written_over(node: Node) -> None:
    first, second = Fork(node, "first"), Fork(node, "second")
    first.made("--at", "3")
    done = node.run("fork", "--into", first.name, "--root", str(second.root))
    assert done.returncode == 4 and "has a log of its own" in done.stderr and f"such as {first.name}-2" in done.stderr
    first.json("redis", "flush", "--confirm", first.name, "--no-backup")
    done = node.run("fork", "--into", first.name, "--root", str(second.root))
    assert "was flushed, which its log tells for ever" in done.stderr and f"such as {first.name}-2" in done.stderr
    first.json("shutdown")
    assert node.run("fork", "--into", f"{first.name}-2", "--root", str(second.root), "--at", "3").returncode == 0
    shutil.rmtree(second.root)  # nobody has used it: the same command makes it again
    assert node.run("fork", "--into", f"{first.name}-2", "--root", str(second.root)).returncode == 0
    second.name = f"{first.name}-2"
    second.json("state", "set", "used", "1")
    second.json("shutdown")
    shutil.rmtree(second.root)
    done = node.run("fork", "--into", second.name, "--root", str(second.root))
    assert done.returncode == 4 and "has a log of its own" in done.stderr, "what it did since belongs to that fork"
    assert not second.root.exists() and not second.stage.exists()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("unix:///tmp/s.sock?db=3", "unix:///tmp/s.sock?db=3"),
        ("redis://me:pass@host:6379/2", "redis://host:6379/2"),
        ("rediss://:p@ss@a:1,b:2/0?db=3&password=x", "rediss://a:1,b:2/0?db=3"),
    ],
)
def test_no_secret_of_the_store_is_written_into_a_fork(url: str, kept: str) -> None:
    assert without_secrets(url) == kept


DEATHS = (
    "maestro.runtime.restores.forks.archives:copied:1",
    "replayers.branch:Branching.load:1",
)


def ended(fork: Fork, how: str, where: str) -> int:
    """The command without a daemon, killed (`DIE`) or refused (`FAIL`) there; its exit code."""
    argv = [sys.executable, "-m", "tests.runtime.dying", *fork.words]
    done = subprocess.run(argv, env={**fork.node.env, how: where}, cwd=ROOT, capture_output=True, check=False)
    assert not fork.root.exists(), done.stderr
    return done.returncode


def test_a_fork_that_is_killed_midway_is_whole_after_the_same_command(node: Node) -> None:
    node.json("shutdown", "--keep", "--grace-period", "1")
    for number, die in enumerate(DEATHS):
        fork = Fork(node, f"killed{number}")
        assert ended(fork, "DIE", die) == -9
        node.json("state", "set", f"after{number}", "1")  # the log goes on meanwhile
        node.json("shutdown", "--keep", "--grace-period", "1")
        assert ended(fork, "DIE", DEATHS[0]) == -9  # and so is the next one, which has cleared the folder
        position = fork.made()["position"]
        fork.check_whole()
        assert json.loads((fork.root / "home" / "branch.json").read_text())["position"] == position
        assert fork.json("events", "tail", "--from", str(position + 1))[0]["type"] == "log.branched"


def test_what_lies_where_a_fork_is_built_is_removed_only_if_it_is_of_that_fork(tmp_path: Path) -> None:
    mine = tmp_path / f"one{SUFFIX}" / "mine"
    mine.parent.mkdir()
    mine.write_text("kept")
    whole = tmp_path / f"two{SUFFIX}" / "home" / BRANCH
    whole.parent.mkdir(parents=True)
    whole.write_bytes(msgspec.json.encode(Branch("source", "into", 1, str(whole.parents[1]))))
    for name, kept in (("one", mine), ("two", whole)):
        with pytest.raises(Refused, match="no fork that was broken off"), ForkSite(tmp_path / name).building():
            pass
        assert kept.exists()
    whole.write_bytes(msgspec.json.encode(Branch("source", "into", 1, str(tmp_path / "two"))))
    with ForkSite(tmp_path / "two").building():
        assert not whole.exists()


def test_a_fork_that_fails_leaves_nothing(node: Node) -> None:
    node.json("shutdown", "--keep", "--grace-period", "1")
    fork = Fork(node, "failed")
    assert ended(fork, "FAIL", DEATHS[-1]) == 4
    assert not fork.stage.exists()
    node.json("state", "set", "more", "1")  # so that the next one is another one
    fork.made()


def test_a_fork_of_the_embedded_store_has_one_of_its_own(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(tmp_path / "work"))
        fork = Fork(node, "apart")
        assert ended(fork, "DIE", DEATHS[-1]) == -9
        fork.made()
        assert not left_behind(fork.stage / "home") and not left_behind(fork.root / "home")
        assert [row["why"] for row in fork.node.json(*Fork(node, "b").words)["workspaces"]] != [""]  # no archive
        assert fork.json("replay", "verify")["ok"]
        fork.json("redis", "flush", "--confirm", fork.name, "--no-backup")
        fork.json("shutdown")
        assert node.json("replay", "verify")["ok"]


def test_a_disk_without_room_for_a_workspace_gives_no_fork_rather_than_an_empty_one() -> None:
    assert on_small_disk(FULL_DISK, DISKS_MIB[0]) == {"code": 4, "told": True, "left": ["filler"]}
