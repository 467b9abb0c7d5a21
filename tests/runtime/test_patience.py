"""An outage of the store in the middle of what has begun: it is waited out, as nobody could repeat what has begun."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, until

ROOT = Path(__file__).parents[2]
GUARD = "maestro.runtime.snapshots.guard_archive:keep_before_run"
READY = "maestro.runtime.worker.execution:RunGuard.put"
END = "maestro.runtime.snapshots.procedure:_Procedure._end"
CONCLUSION = "maestro.runtime.restores.procedure:conclude"
MOVE = "maestro.runtime.restores.moves.agent_move:_assign"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Node]:
    """A node whose daemon finds the store away once at each of these points."""
    folder = tmp_path_factory.mktemp("patience")
    (folder / "shared").mkdir()
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": "patience", "MAESTRO_FAILSAFE_MODE": "true"}
    with Node(folder / "here", MAESTRO_ARCHIVE_URL=(folder / "shared").as_uri(), **env) as node:
        points = ",".join((GUARD, END, CONCLUSION, MOVE))
        with (node.home / "daemon.log").open("ab") as log:
            argv = [sys.executable, "-m", "tests.runtime.failing", "worker"]
            daemon = subprocess.Popen(argv, env={**node.env, "AWAY": points}, cwd=ROOT, stderr=log)
        until(lambda: (node.home / "daemon.sock").exists())
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(folder / "ann"))
        yield node
        node.json("shutdown")
        assert daemon.wait(30) == 0


def was_away(node: Node, point: str) -> bool:
    return f"the store is away once: {point}\n" in node.log()


def test_a_run_whose_workspace_is_being_guarded_goes_on(node: Node) -> None:
    """It ended: `its workspace cannot be archived before it`."""
    row = node.dispatch("true", "--to", "ann", "--sync")
    assert row["status"] == "completed" and len(row["runs"]) == 1 and was_away(node, GUARD)


def test_a_snapshot_that_has_read_all_and_a_restore_that_has_exchanged_all_end_as_they_began(node: Node) -> None:
    """The restore was told as failed, and its agents stood still, though it was done."""
    place = Path(str(next(row["workspace"] for row in node.json("agent", "list"))), "file")
    place.write_text("then")
    taken = node.json("state", "snapshot")
    assert taken["state"] == "complete" and was_away(node, END)
    place.write_text("now")
    row = node.json("state", "restore", taken["id"])
    assert place.read_text() == "then" and row["source"] == taken["id"] and was_away(node, CONCLUSION)
    assert node.json("agent", "list")[0]["state"] == "idle"


def test_an_agent_whose_folder_is_put_here_gets_it(node: Node) -> None:
    """The folder was there, and the agent was not; repeated, it was refused, as the folder is not empty."""
    env = {name: node.env[name] for name in ("MAESTRO_REDIS_URL", "MAESTRO_NAMESPACE", "MAESTRO_ARCHIVE_URL")}
    place = node.folder.parent / "ben"
    with Node(node.folder.parent / "there", **env) as there:
        there.up().json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(place))
        (place / "file").write_text("of ben")
        there.json("state", "snapshot", "--workspace", "ben")
    os.rename(place, f"{place}-there")
    row = node.json("agent", "assign", "ben", "--from-snapshot", "newest", "--node", node.id)
    assert row["node"] == node.id and (place / "file").read_text() == "of ben" and was_away(node, MOVE)
