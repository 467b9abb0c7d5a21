"""A daemon is killed while workspaces are exchanged, and then a folder is gone: a daemon starts all the same, and says
in one state what a person can leave by one command.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.workspaces.exchanges.exchange import STAGE_PREFIX
from tests.runtime.acting import Node, until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path) as node:
        for agent in ("ann", "ben"):
            (tmp_path / f"at-{agent}").mkdir()
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(place(node, agent)))
            (place(node, agent) / "mine").write_text("kept")
        node.json("state", "snapshot")
        for agent in ("ann", "ben"):
            (place(node, agent) / "mine").write_text("now")
        node.json("shutdown", "--keep", "--grace-period", "1")
        yield node


def place(node: Node, agent: str) -> Path:
    return node.folder / f"at-{agent}" / "work"


def content(node: Node) -> list[str]:
    files = [place(node, agent) / "mine" for agent in ("ann", "ben")]
    return [file.read_text() if file.exists() else "gone" for file in files]


def killed(node: Node, die: str, *words: str) -> None:
    """A restore whose daemon dies there."""
    argv = [sys.executable, "-m", "tests.runtime.dying", "worker"]
    log = (node.home / "daemon.log").open("ab")
    daemon = subprocess.Popen(argv, env={**node.env, "DIE": die}, cwd=ROOT, stderr=log)
    until(lambda: node.run("node", "list").returncode == 0 and (node.home / "daemon.sock").exists())
    assert node.run("state", "restore", "latest", *words).returncode == 5
    assert daemon.wait(30) == -9


def agents(node: Node) -> dict[str, str]:
    return {row["id"]: row["state"] for row in node.json("agent", "list")}


def way_out(node: Node, agent: str) -> list[str]:
    """The command that leaves the state in which an agent is, whatever its health is by now."""
    assert agents(node)[agent] == "stopped"
    told = node.run("doctor", "--format", "json")
    assert told.returncode == 4
    (row,) = [row for row in json.loads(told.stdout) if row["check"] == f"agent {agent}" and row["status"] == "failed"]
    assert "the folder is gone" in row["detail"] and row["remedy"] in row["detail"]
    return str(row["remedy"]).split()[1:]


def check_whole(node: Node) -> None:
    assert set(agents(node).values()) == {"idle"}
    assert not list(node.folder.glob(f"*/{STAGE_PREFIX}*"))
    for agent in ("ann", "ben"):
        assert node.dispatch("true", "--to", agent, "--sync")["status"] == "completed"
    assert node.json("replay", "verify")["ok"]


@pytest.mark.parametrize(
    "die", ["maestro.workspaces.exchanges.exchange:put:1", "maestro.workspaces.exchanges.exchange:put:2"]
)
def test_where_one_workspace_is_new_the_restore_is_done_and_the_lost_one_is_named(node: Node, die: str) -> None:
    """The folder that the workspace lay in is gone, as /tmp is after a restart of the machine."""
    killed(node, die)
    lost = "ann" if die.endswith("2") else "ben"
    shutil.rmtree(place(node, lost).parent)
    node.up()
    assert content(node) == (["gone", "kept"] if lost == "ann" else ["kept", "gone"])
    assert len(node.events("restore.done")) == 1
    node.json(*way_out(node, lost))
    assert content(node) == ["kept", "kept"]
    check_whole(node)


def test_where_both_folders_of_all_are_gone_nothing_was_restored_and_what_was_there_comes_back(node: Node) -> None:
    killed(node, "maestro.workspaces.exchanges.exchange:put:1")
    for agent in ("ann", "ben"):
        shutil.rmtree(place(node, agent).parent)
    node.up()
    assert content(node) == ["gone", "gone"] and not node.events("restore.done")
    (failed,) = node.events("restore.failed")
    assert str(place(node, "ann")) in failed.fact.reason  # type: ignore[union-attr]
    for agent in ("ann", "ben"):
        node.json(*way_out(node, agent))
    assert content(node) == ["now", "now"]
    check_whole(node)


def test_the_command_that_was_interrupted_leaves_it_too(node: Node) -> None:
    killed(node, "maestro.workspaces.exchanges.exchange:put:1")
    for agent in ("ann", "ben"):
        shutil.rmtree(place(node, agent).parent)
    node.json("state", "restore", "latest")
    assert content(node) == ["kept", "kept"]
    check_whole(node)


def test_a_stage_that_a_cleaner_took_leaves_all_old(node: Node) -> None:
    killed(node, "maestro.workspaces.exchanges.exchange:put:1")
    (stage,) = place(node, "ben").parent.glob(f"{STAGE_PREFIX}*")
    shutil.rmtree(stage)
    assert node.json("node", "list")  # by a command without a daemon
    assert content(node) == ["now", "now"]
    check_whole(node)
    assert len(node.events("restore.failed")) == 1


def test_one_workspace_alone_that_is_lost_is_brought_back_by_the_command_that_its_agent_names(node: Node) -> None:
    killed(node, "maestro.workspaces.exchanges.exchange:put:1", "--workspace", "ann")
    shutil.rmtree(place(node, "ann").parent)
    node.up()
    node.json(*way_out(node, "ann"))
    assert content(node) == ["now", "now"]
    check_whole(node)


def test_a_journal_that_cannot_be_read_hinders_no_start_and_is_named(node: Node) -> None:
    killed(node, "maestro.workspaces.exchanges.exchange:Exchange.stages:1")
    (node.home / "restore/exchange/journal").write_text('{"state": "exch')
    node.up()
    rows = json.loads(node.run("doctor", "--format", "json").stdout)
    remedies = [row["remedy"] for row in rows if "`rm " in str(row["remedy"])]
    remove, path = remedies[0].split("`")[1].split()
    assert remove == "rm"
    Path(path).unlink()
    until(lambda: set(agents(node).values()) == {"idle"})
    assert content(node) == ["now", "now"]
