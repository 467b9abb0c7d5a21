"""The command that a restore prints to undo it works as it is printed, whatever the restore took away."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.acting import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        assign(node, "ann")
        (node.folder / "ann/mine").write_text("of ann")
        yield node


def assign(node: Node, agent: str, place: str = "") -> None:
    node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / (place or agent)))


def restored(node: Node, *words: str) -> dict[str, Any]:
    """The answer of a restore, which prints how to undo it."""
    done = node.run("state", "restore", *words)
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)
    assert (row["undo"] or "nothing to undo") in done.stderr
    return row


def undone(node: Node, row: dict[str, Any]) -> dict[str, Any]:
    words = shlex.split(row["undo"])
    assert words[:3] == ["maestro", "state", "restore"]
    return restored(node, *words[3:])


def places(node: Node) -> dict[str, str]:
    return {agent["id"]: Path(agent["workspace"]).name for agent in node.json("agent", "list")}


@pytest.mark.parametrize("to", ["latest", "--at 0"])
def test_agents_that_a_restore_took_away_come_back_to_their_folders(node: Node, to: str) -> None:
    node.json("state", "snapshot")
    assign(node, "ben")
    assign(node, "ann", "moved")
    for folder in ("ben", "moved"):
        (node.folder / folder / "work").write_text("hours of work")
    was = places(node)
    named = [] if to.startswith("--at") else ["--replace-foreign", str(node.folder / "ann")]  # a user moved ann
    row = restored(node, *to.split(), *named)
    assert "ben" not in places(node)
    (node.folder / "ben/work").write_text("of nobody")
    again = undone(node, row)
    assert places(node) == was
    assert [(node.folder / folder / "work").read_text() for folder in ("ben", "moved")] == ["hours of work"] * 2
    row = undone(node, again)
    assert "ben" not in places(node)
    undone(node, row)
    assert places(node) == was


def test_a_folder_that_somebody_got_since_then_or_a_file_brings_is_not_taken(node: Node, tmp_path: Path) -> None:
    assign(node, "ben")
    (node.folder / "ben/work").write_text("hours of work")
    export = str(tmp_path / "x.tar.gz")
    node.json("state", "snapshot", "--output", export)
    row = restored(node, "--at", "0")
    refused = node.run("state", "restore", export)  # of this very log, and yet it may be from anybody
    assert refused.returncode == 4 and f"--replace-foreign {node.folder}/ben" in refused.stderr
    assign(node, "cy", "ben")
    assign(node, "cy", "elsewhere")
    refused = node.run(*shlex.split(row["undo"])[1:])
    assert refused.returncode == 4 and f"--replace-foreign {node.folder}/ben" in refused.stderr
    assert f"--replace-foreign {node.folder}/ann" not in refused.stderr


def test_a_workspace_that_was_not_there_stays_as_it_was_put_back(node: Node) -> None:
    node.json("state", "snapshot")
    shutil.rmtree(node.folder / "ann")
    assign(node, "ben")
    row = restored(node, "latest")
    undone(node, row)
    assert places(node) == {"ann": "ann", "ben": "ben"} and (node.folder / "ann/mine").read_text() == "of ann"


def test_one_workspace_that_was_not_there_cannot_be_undone_and_it_says_so(node: Node) -> None:
    node.json("state", "snapshot")
    shutil.rmtree(node.folder / "ann")
    assert restored(node, "latest", "--workspace", "ann")["undo"] is None


def test_one_folder_that_was_nobodys_comes_back_too(node: Node) -> None:
    node.json("state", "snapshot")
    assign(node, "ann", "elsewhere")
    place = str(node.folder / "ann")
    Path(place, "mine").write_text("precious")
    row = restored(node, "latest", "--workspace", place, "--replace-foreign", place)
    assert Path(place, "mine").read_text() == "of ann"
    undone(node, row)
    assert Path(place, "mine").read_text() == "precious"
