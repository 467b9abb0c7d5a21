"""What a restore refuses before it begins, and how it says all that hinders it in one go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        (node.folder / "ann/mine").write_text("of ann")
        yield node.up()


@pytest.mark.parametrize("command", ["restore", "rollback"])
def test_a_time_before_the_first_event_is_refused_and_the_first_is_named(node: Node, command: str) -> None:
    first = node.events()[0]
    events = len(node.events())
    for at in ("10d", "2020-01-01"):
        for more in ((), ("--dry-run",)):
            done = node.run("state", command, "--at", at, *more)
            assert done.returncode == 2 and "before the first event" in done.stderr, done.stderr
            assert f"position {first.seq}, " in done.stderr and "Z; " in done.stderr
    done = node.run("state", command, "--at", "999999")
    assert done.returncode == 2 and "beyond the end of the log" in done.stderr
    assert len(node.events()) == events


def test_before_the_first_event_is_a_position_and_it_is_said_what_goes(node: Node) -> None:
    planned = node.run("state", "restore", "--at", "0", "--dry-run")
    assert planned.returncode == 0 and "all agents, all tasks and all of the state go" in planned.stderr
    done = node.run("state", "restore", "--at", "0")
    assert done.returncode == 0 and "all agents, all tasks and all of the state go" in done.stderr
    node.json(*json.loads(done.stdout)["undo"].split()[1:])
    assert [agent["id"] for agent in node.json("agent", "list")] == ["ann"]


def test_all_that_hinders_is_told_in_one_go(node: Node) -> None:
    for agent in ("ben", "cy"):
        node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / agent))
    (node.folder / "cy").rmdir()
    node.json("state", "snapshot", "--allow-missing")  # without the workspace of cy
    (node.folder / "cy").mkdir()
    for agent in ("ann", "ben"):
        node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / f"{agent}-2"))
        (node.folder / agent / "page").write_text("precious")
    refused = node.run("state", "restore", "latest")
    options = f"--replace-foreign {node.folder}/ann --replace-foreign {node.folder}/ben --skip-failed"
    assert refused.returncode == 4 and f"{options}, which leaves cy" in refused.stderr, refused.stderr
    assert node.run("state", "restore", "latest", *options.split()).returncode == 0


def test_all_folders_that_are_nobodys_are_told_where_assignments_are_put_back(node: Node, tmp_path: Path) -> None:
    node.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(node.folder / "ben"))
    (node.folder / "ben/mine").write_text("of ben")
    node.json("state", "snapshot")
    for agent in ("ann", "ben"):
        node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / f"{agent}-2"))
    refused = node.run("agent", "assign", "--from-snapshot", "latest")
    commands = [part for part in refused.stderr.split("`") if part.startswith("maestro agent assign")]
    assert refused.returncode == 4 and len(commands) == 2
    for command in commands:
        node.json(*command.split()[1:])
    assert len(node.json("agent", "assign", "--from-snapshot", "latest")) == 2


def test_a_folder_that_a_link_above_the_workspace_leads_to_is_not_replaced(node: Node) -> None:
    """No snapshot holds it, as it is not the folder that the agent was given."""
    own = node.folder / "above/own"
    node.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(own))
    (own / "page").write_text("of ben")
    node.json("state", "snapshot")
    own.parent.rename(node.folder / "moved")
    (node.folder / "other/own").mkdir(parents=True)
    (node.folder / "other/own/page").write_text("precious")
    own.parent.symlink_to(node.folder / "other")
    for words in (("--workspace", "ben"), ()):
        refused = node.run("state", "restore", "latest", *words)
        assert refused.returncode == 4 and f"{own} is now a link; what is in it could not be kept" in refused.stderr, (
            refused.stderr
        )
    assert node.run("state", "restore", "latest", "--skip-failed").returncode == 0
    assert (own / "page").read_text() == "precious"
    own.parent.unlink()
    (node.folder / "moved").rename(own.parent)
    node.json("state", "restore", "latest")
    assert (own / "page").read_text() == "of ben"
