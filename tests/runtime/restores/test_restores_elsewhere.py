"""A snapshot goes to another machine, another root, an empty store; a store with another history is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node, until
from tests.workspaces.archive.trees import told


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Node]:
    """An installation with a workspace below its root and one elsewhere, and a snapshot of them in `x.tar.gz`."""
    with Node(tmp_path / "here") as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.root / "team/ann"))
        node.json(
            "agent", "assign", "shell", "--name", "ben", "--to-workspace", str(tmp_path / "ben"), "--priority", "1"
        )
        node.json("agent", "assign", "shell", "--name", "cy")
        node.dispatch("mkdir deep; echo ann > deep/made", "--to", "ann", "--sync")
        node.json("state", "set", "report", "x" * 40_000)
        node.dispatch("exec sleep 300", "--to", "ben")
        until(lambda: node.events("run.started")[1:])
        node.json("state", "snapshot", "--output", str(tmp_path / "x.tar.gz"))
        node.json("shutdown", "--grace-period", "1", "--keep")
        yield node


@pytest.fixture
def other(tmp_path: Path, home: Node) -> Iterator[Node]:
    """Another machine: nothing of the first one but its export."""
    with Node(tmp_path / "there", MAESTRO_NAMESPACE=home.namespace) as node:
        yield node


def test_the_log_is_loaded_with_its_ids_and_workspaces_go_below_the_new_root(
    home: Node, other: Node, tmp_path: Path
) -> None:
    was = told(home.root / "team/ann")
    home.json("node", "list")  # starts its store
    events = home.events()
    source = str(tmp_path / "x.tar.gz")
    planned = other.json("state", "restore", source, "--dry-run")
    assert planned["log_loaded"] and planned["undone"]["events"] == 0
    moved = {agent["agent"]: (agent.get("recorded_workspace"), agent["workspace"]) for agent in planned["agents"]}
    assert moved["ann"] == (str(home.root / "team/ann"), str(other.root / "team/ann"))
    assert moved["ben"] == (None, str(tmp_path / "ben"))
    assert not other.root.exists()

    row = other.json("state", "restore", source)
    assert told(other.root / "team/ann") == was
    loaded = other.events()
    position = row["position"]
    assert loaded[:position] == events[:position]
    agents = {agent["id"]: agent for agent in other.json("agent", "list")}
    assert {name: agent["node"] for name, agent in agents.items()} == {"ann": other.id, "ben": other.id, "cy": None}
    assert agents["ann"]["workspace"] == str(other.root / "team/ann") and agents["ben"]["priority"] == 1
    first, second = other.json("task", "list")
    assert (first["status"], first["reason"], second["status"]) == ("cancelled", "restored", "completed")
    assert other.json("state", "get", "report")["value"] == "x" * 40_000
    assert other.json("replay", "verify")["ok"]
    assert other.dispatch("cat deep/made", "--to", "ann", "--sync")["runs"][0]["result"] == "ann"
    assert other.dispatch("true", "--to", "cy", "--sync")["status"] == "completed"


def test_a_log_in_which_only_nodes_came_and_went_counts_as_empty(home: Node, other: Node, tmp_path: Path) -> None:
    other.up()
    position = other.json("state", "restore", str(tmp_path / "x.tar.gz"))["position"]
    assert [event.type for event in other.events()[:3]] != ["node.joined", "node.left", "node.joined"]
    assert position in [event.seq for event in other.events("snapshot.started")]
    again = other.json("state", "restore", str(tmp_path / "x.tar.gz"))
    assert again["position"] == position and other.json("replay", "verify")["ok"]


def test_another_history_is_refused(home: Node, other: Node, tmp_path: Path) -> None:
    other.json("state", "set", "mine", "1")
    events = len(other.events())
    for words in ((), ("--dry-run",), ("--workspace", "ben")):
        refused = other.run("state", "restore", str(tmp_path / "x.tar.gz"), *words)
        assert refused.returncode == 4 and "another history" in refused.stderr
    assert [event.type for event in other.events()[events:] if not event.type.startswith("node.")] == []
    assert other.json("state", "get", "mine")["value"] == "1"


def test_after_a_flush_the_newest_snapshot_of_the_home_brings_all_back(home: Node) -> None:
    taken = home.json("state", "snapshot")
    tasks = home.json("task", "list")
    home.json("redis", "flush", "--confirm", home.namespace, "--no-backup")
    assert home.json("task", "list") == []
    assert home.json("state", "restore", "latest")["position"] == taken["position"]
    assert [task["id"] for task in home.json("task", "list")] == [task["id"] for task in tasks]
    assert home.json("replay", "verify")["ok"]
    (listed,) = [row for row in home.json("state", "snapshots") if row["id"] == taken["id"]]
    assert listed["latest"] and listed["agents"] == taken["agents"]


def test_another_root_of_workspaces_moves_them_in_the_same_log_too(home: Node, tmp_path: Path) -> None:
    home.json("state", "snapshot")
    new = str(tmp_path / "new-root")
    row = home.json("state", "restore", "latest", MAESTRO_WORKSPACE_ROOT=new)
    assert {each["workspace"] for each in row["workspaces"]} == {f"{new}/team/ann", str(tmp_path / "ben")}
    assert (Path(new) / "team/ann/deep/made").read_text() == "ann\n"
    assert (home.root / "team/ann/deep/made").exists()
    home.run(*row["undo"].split()[1:])
    assert home.json("agent", "list")[0]["workspace"] == str(home.root / "team/ann")


def test_every_assignment_is_put_back_and_absent_workspaces_are_filled(home: Node, other: Node, tmp_path: Path) -> None:
    source = str(tmp_path / "x.tar.gz")
    other.json("state", "set", "mine", "1")
    (tmp_path / "ben/mine").write_text("kept")
    refused = other.run("agent", "assign", "--from-snapshot", source)
    assert refused.returncode == 4 and other.json("agent", "list") == []
    way_out = refused.stderr.split("`")[1].split()
    words = ["maestro", "agent", "assign", "shell", "--name", "ben", "--node", other.id]
    assert way_out == [*words, "--to-workspace", str(tmp_path / "ben")]
    other.json(*way_out[1:])
    rows = {row["id"]: row for row in other.json("agent", "assign", "--from-snapshot", source)}
    assert sorted(rows) == ["ann", "ben", "cy"]
    assert (rows["ben"]["priority"], rows["ben"]["node"], rows["cy"]["workspace"]) == (1, other.id, None)
    assert (other.root / "team/ann/deep/made").read_text() == "ann\n"
    assert (tmp_path / "ben/mine").read_text() == "kept"
    assert other.json("state", "get", "mine")["value"] == "1"
    assert other.dispatch("cat deep/made", "--to", "ann", "--sync")["runs"][0]["result"] == "ann"
    refused = other.run("agent", "assign", "shell", "--from-snapshot", source)
    assert refused.returncode == 3 and "there is no agent 'shell'" in refused.stderr
    assert len(json.loads(other.run("agent", "assign", "--from-snapshot", source).stdout)) == 3
