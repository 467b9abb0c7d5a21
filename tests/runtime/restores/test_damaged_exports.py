"""A damaged export is trusted in nothing, also where nothing but the log's position would be taken from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node
from tests.workspaces.archive.rotting import flip

COMMANDS = (
    ("state", "restore"),
    ("state", "restore", "--dry-run"),
    ("state", "restore", "--skip-failed"),
    ("state", "restore", "--skip-failed", "--dry-run"),
    ("state", "restore", "--workspace", "ann"),
    ("state", "rollback"),
    ("state", "rollback", "--skip-verify"),
    ("state", "rollback", "--skip-verify", "--skip-failed"),
    ("state", "rollback", "--skip-verify", "--dry-run"),
    ("agent", "assign", "--from-snapshot"),
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        node.json("agent", "assign", "shell", "--name", "ann")
        for number in range(20):
            node.json("state", "set", f"key-{number}", "1" * 50)
        yield node.up()


def test_one_in_which_there_is_no_workspace_is_refused_and_nothing_is_changed(node: Node, tmp_path: Path) -> None:
    whole = tmp_path / "x.tar.gz"
    node.json("state", "snapshot", "--output", str(whole))
    node.json("state", "set", "later", "1")
    short, flipped = tmp_path / "short.tar.gz", tmp_path / "flipped.tar.gz"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size - 1000])
    flipped.write_bytes(whole.read_bytes())
    flip(flipped, whole.stat().st_size // 2)
    events = len(node.events())
    for export in (short, flipped):
        assert node.run("state", "verify", str(export)).returncode == 6
        for words in COMMANDS:
            done = node.run(*words, str(export))
            wanted = (3, 6) if "--workspace" in words else (6,)  # ann has none
            assert done.returncode in wanted, (words, done.returncode, done.stdout, done.stderr)
    assert node.json("state", "get", "later")["value"] == "1" and len(node.events()) == events
    assert node.json("state", "restore", str(whole))["state_restored"]
    assert node.run("state", "get", "later").returncode == 3


def test_one_of_whose_workspaces_none_can_be_put_back_is_refused_too(node: Node, tmp_path: Path) -> None:
    whole = tmp_path / "x.tar.gz"
    place = node.folder / "ben"
    node.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(place))
    node.json("state", "snapshot", "--output", str(whole))
    node.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(node.folder / "elsewhere"))
    (place / "page").write_text("precious")
    flip(whole, whole.stat().st_size // 2)
    for words in COMMANDS[:4]:
        done = node.run(*words, str(whole))
        assert done.returncode == 6 and "fetch it again" in done.stderr, (words, done.returncode, done.stderr)
    assert (place / "page").read_text() == "precious"
