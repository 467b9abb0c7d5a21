"""A workspace that was there and is gone: all commands say so, nobody makes it anew unasked, each way out leads out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("vanish"), MAESTRO_REDIS_URL=server.url) as node:
        node.agent_type("worker")
        node.up()
        yield node


def assigned(node: Node, name: str, *words: str) -> Path:
    workspace = node.folder / name
    node.json("agent", "assign", "worker", "--name", name, "--to-workspace", str(workspace), *words)
    (workspace / "work").write_text("of days")
    return workspace


def row_of(node: Node, name: str) -> dict[str, Any]:
    return next(row for row in node.json("agent", "list") if row["id"] == name)


def refused(node: Node, *words: str) -> str:
    done = node.run(*words)
    assert done.returncode == 4, (done.returncode, done.stdout, done.stderr)
    return done.stderr


def test_all_commands_tell_the_same_at_once_and_nothing_is_made(here: Node) -> None:
    workspace = assigned(here, "gone")
    shutil.rmtree(workspace)
    row = row_of(here, "gone")
    assert (row["healthy"], row["state"]) == (False, "failed")
    assert f"{workspace} was there and is gone" in row["reason"]
    assert [each["id"] for each in here.json("agent", "list", "--status", "failed")] == ["gone"]
    error = refused(here, "task", "dispatch", "run: true", "--to", "gone")
    assert f"{workspace} was there and is gone" in error and "state restore" in error
    health = here.run("agent", "health", "gone")
    assert (health.returncode, health.stdout.splitlines()[0]) == (1, "status: unhealthy")
    assert here.json("agent", "restart", "gone")["healthy"] is False
    assert "was there and is gone" in refused(here, "agent", "assign", "worker", "--name", "gone", "--role", "other")
    assert not workspace.exists()


def test_an_edit_that_an_agent_takes_does_not_have_its_vanished_workspace_forgotten(here: Node) -> None:
    here.agent_type("taker", env={"A": "1"})
    gone, there = here.folder / "taker-gone", here.folder / "taker-there"
    for name, workspace in (("taker-gone", gone), ("taker-there", there)):
        here.json("agent", "assign", "taker", "--name", name, "--to-workspace", str(workspace))
    shutil.rmtree(gone)
    here.agent_type("taker", env={"A": "2"})
    registered = here.run("agent", "register", "taker")
    assert "taker-gone works by another definition, and is failed" in registered.stderr
    kept = here.run("agent", "restart", "taker-gone")
    assert (
        "taker-gone works by its definition as it was" in kept.stderr and f"{gone} was there and is gone" in kept.stderr
    )
    assert row_of(here, "taker-gone")["healthy"] is False and not gone.exists()
    shutil.rmtree(there)  # has taken it, and was there before
    assert "taker-there takes it from its next run on: env" in registered.stderr
    assert f"{there} was there and is gone" in refused(here, "task", "dispatch", "run: true", "--to", "taker-there")
    here.agent_type("taker", env={"A": "3"})
    assert "works by its definition as it was" in here.run("agent", "restart", "taker-there").stderr
    assert not there.exists()
    (here.agents / "taker.yaml").unlink()


def test_a_dispatch_by_force_makes_no_folder_either(here: Node) -> None:
    workspace = assigned(here, "forced")
    shutil.rmtree(workspace)
    row = here.dispatch("run: true", "--to", "forced", "--force", "--sync", code=1)
    assert row["runs"][0]["outcome"] == "spawn_error"
    assert "was there and is gone" in row["runs"][0]["evidence"]
    assert not workspace.exists()


def test_a_link_in_its_place_is_not_followed(here: Node) -> None:
    workspace = assigned(here, "linked")
    workspace.rename(here.folder / "moved")
    workspace.symlink_to(here.folder / "moved")
    assert "is now a link" in row_of(here, "linked")["reason"]
    assert "is now a link" in refused(here, "task", "dispatch", "run: true", "--to", "linked")
    workspace.unlink()
    (here.folder / "moved").rename(workspace)
    assert row_of(here, "linked")["healthy"] is True
    here.dispatch("run: cat work", "--to", "linked", "--sync")


def test_the_restore_that_a_refusal_names_finds_a_workspace_that_is_a_link_by_now(here: Node) -> None:
    workspace = assigned(here, "relinked")
    snapshot = here.json("state", "snapshot", "--workspace", "relinked")["id"]
    shutil.rmtree(workspace)
    (here.folder / "elsewhere").mkdir()
    workspace.symlink_to(here.folder / "elsewhere")
    assert f"state restore <snapshot> --workspace {workspace}" in refused(
        here, "task", "dispatch", "run: true", "--to", "relinked"
    )
    assert "is no folder; remove it" in refused(here, "state", "restore", snapshot, "--workspace", str(workspace))
    workspace.unlink()
    here.json("state", "restore", snapshot, "--workspace", str(workspace))
    assert (workspace / "work").read_text() == "of days"
    assert not list((here.folder / "elsewhere").iterdir())


def test_a_pool_leaves_it_out(here: Node) -> None:
    for name in ("pool-1", "pool-2"):
        assigned(here, name, "--role", "swimmer")
    shutil.rmtree(here.folder / "pool-1")
    for _ in range(3):
        assert here.dispatch("run: true", "--to", "role:swimmer", "--sync")["agents"] == ["pool-2"]
    shutil.rmtree(here.folder / "pool-2")
    assert "no agent" in refused(here, "task", "dispatch", "run: true", "--to", "role:swimmer")


def test_assigning_it_again_makes_it_anew(here: Node) -> None:
    workspace = assigned(here, "again")
    shutil.rmtree(workspace)
    refused(here, "task", "dispatch", "run: true", "--to", "again")
    row = here.json("agent", "assign", "worker", "--name", "again", "--to-workspace", str(workspace))
    assert row["healthy"] is True and workspace.is_dir()
    here.dispatch("run: true", "--to", "again", "--sync")


def test_a_restore_brings_it_back(here: Node) -> None:
    workspace = assigned(here, "restored")
    snapshot = here.json("state", "snapshot", "--workspace", str(workspace))["id"]
    shutil.rmtree(workspace)
    refused(here, "task", "dispatch", "run: true", "--to", "restored")
    here.json("state", "restore", snapshot, "--workspace", str(workspace))
    assert row_of(here, "restored")["healthy"] is True
    assert here.dispatch("run: cat work", "--to", "restored", "--sync")["runs"][0]["result"].endswith("of days")


def test_it_is_remembered_when_the_daemon_starts_again(here: Node) -> None:
    workspace = assigned(here, "asleep")
    here.json("shutdown", "--grace-period", "1", "--keep")
    shutil.rmtree(workspace)
    here.up()
    assert "was there and is gone" in row_of(here, "asleep")["reason"]
    assert not workspace.exists()


def test_a_node_makes_what_it_is_assigned_from_elsewhere_once(here: Node, server: StoreServer, tmp_path: Path) -> None:
    with Node(tmp_path / "b", MAESTRO_REDIS_URL=server.url, MAESTRO_NAMESPACE=here.namespace) as b:
        b.up()
        workspace = tmp_path / "far"
        here.json("agent", "assign", "worker", "--name", "far", "--to-workspace", str(workspace), "--node", b.id)
        until(workspace.is_dir)
        here.dispatch("run: true", "--to", "far", "--sync")
        workspace.rmdir()
        until(lambda: not row_of(here, "far")["healthy"])
        assert "was there and is gone" in refused(here, "task", "dispatch", "run: true", "--to", "far")
        assert not workspace.exists()
        here.json("agent", "assign", "worker", "--name", "far", "--to-workspace", f"{here.folder}/near")
        here.dispatch("run: true", "--to", "far", "--sync")


def test_a_dispatch_after_the_cancel_of_a_run_that_stood_still_is_taken_at_once(here: Node) -> None:
    assigned(here, "still")
    task = str(here.dispatch("run: kill -STOP $$", "--to", "still")["id"])
    until(lambda: not row_of(here, "still")["healthy"])
    assert here.json("task", "cancel", task)["status"] == "cancelled"
    assert here.dispatch("run: true", "--to", "still", "--sync")["status"] == "completed"


def test_a_stopped_agent_is_not_called_healthy_by_one_command_and_unfit_by_another(here: Node) -> None:
    assigned(here, "stopped")
    assert here.json("agent", "stop", "stopped")["healthy"] is False
    assert here.run("agent", "health", "stopped").returncode == 1
    assert row_of(here, "stopped")["healthy"] is False
    here.json("agent", "restart", "stopped")
    assert here.run("agent", "health", "stopped").returncode == 0
    assert row_of(here, "stopped")["healthy"] is True
    assert os.path.isdir(here.folder / "stopped")
