"""Into an empty store: all is checked, then the log is loaded, and nothing of it begins before the restore is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node, until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Path]:
    """Of an installation with a workspace outside its root, and tasks that waited: they would write `ran`."""
    with Node(tmp_path / "here") as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(tmp_path / "www"))
        node.json("agent", "assign", "shell", "--name", "cy")  # whose runs are bound to no node
        (tmp_path / "www/page").write_text("forged")
        ran = tmp_path / "ran"
        for agent in ("ann", "cy"):
            node.dispatch(f"touch {tmp_path}/go; exec sleep 300", "--to", agent)
            node.dispatch(f"echo {agent} >> {ran}", "--to", agent)
        until(lambda: len(node.events("run.started")) == 2)
        node.json("state", "snapshot", "--output", str(tmp_path / "x.tar.gz"))
        (tmp_path / "namespace").write_text(node.namespace)
    yield tmp_path / "x.tar.gz"
    assert not ran.exists()


@pytest.fixture
def other(tmp_path: Path, export: Path) -> Iterator[Node]:
    """Another machine, whose folder of that name has something in it."""
    (tmp_path / "www/page").write_text("precious")
    with Node(tmp_path / "there", MAESTRO_NAMESPACE=(tmp_path / "namespace").read_text()) as node:
        yield node


def quiet(node: Node, tmp_path: Path) -> None:
    """The log is empty; a daemon that starts on it has nothing to do, and what comes next is carried out."""
    assert not [event for event in node.events() if not event.type.startswith("node.")]
    assert node.json("agent", "list") == [] and node.json("task", "list") == []
    node.json("agent", "assign", "shell", "--name", "new")
    assert node.dispatch("true", "--to", "new", "--sync")["status"] == "completed"
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "www/page").read_text() == "precious"


@pytest.mark.parametrize("with_daemon", [False, True])
def test_what_is_refused_loads_nothing(other: Node, export: Path, with_daemon: bool) -> None:
    if with_daemon:
        other.up()
        pid = other.pid
    refused = other.run("state", "restore", str(export))
    assert refused.returncode == 4 and f"--replace-foreign {export.parent}/www" in refused.stderr
    if with_daemon:
        assert other.pid == pid  # nor does the daemon end for it
    quiet(other, export.parent)


@pytest.mark.parametrize(
    "fail",
    [
        "replayers.checkpoint:load:1",
        "maestro.workspaces.exchanges.exchange:Exchange.stages:1",
        "maestro.workspaces.exchanges.exchange:identify:1",
    ],
)
def test_what_fails_behind_the_load_is_unloaded_again(other: Node, export: Path, fail: str) -> None:
    done = dying(other, export, FAIL=fail)
    assert done.returncode == 4 and "as the test wants it" in done.stderr, done.stderr
    quiet(other, export.parent)


@pytest.mark.parametrize(
    "die",
    [
        "replayers.checkpoint:load:1",
        "maestro.runtime.restores.halt:stop_reason:1",
        "maestro.workspaces.exchanges.exchange:Exchange.stages:1",
        "maestro.workspaces.exchanges.exchange:_sync_file_system:1",
    ],
)
@pytest.mark.parametrize("by_daemon", [False, True])
def test_killed_between_the_load_and_the_exchange_the_log_is_empty_again(
    other: Node, export: Path, die: str, by_daemon: bool
) -> None:
    killed(other, export, die)
    other.json("up" if by_daemon else "node", *([] if by_daemon else ["list"]))
    quiet(other, export.parent)


@pytest.mark.parametrize(
    "die", ["maestro.workspaces.exchanges.exchange:put:1", "maestro.workspaces.exchanges.exchange:Exchange.commit:1"]
)
@pytest.mark.parametrize("by_daemon", [False, True])
def test_killed_behind_the_exchange_it_is_done_before_anything_is_released(
    other: Node, export: Path, die: str, by_daemon: bool
) -> None:
    killed(other, export, die)
    if by_daemon:
        other.up()
    assert (export.parent / "www/page").read_text() == "forged"
    assert {task["status"] for task in other.json("task", "list")} == {"cancelled"}
    assert len(other.events("restore.done")) == 1 and other.json("replay", "verify")["ok"]
    assert other.dispatch("cat page", "--to", "ann", "--sync")["runs"][0]["result"] == "forged"
    (done,) = other.events("restore.done")
    assert not [event for event in other.events("run.released") if export_end(other) < event.seq < done.seq]


def export_end(node: Node) -> int:
    """Where the log that was loaded ended."""
    return int(node.events("restore.done")[0].fact.to)  # type: ignore[union-attr]


def killed(node: Node, export: Path, die: str) -> None:
    done = dying(node, export, DIE=die)
    assert done.returncode == -9, (done.returncode, done.stdout, done.stderr)


def dying(node: Node, export: Path, **how: str) -> subprocess.CompletedProcess[str]:
    """The restore, by a command that does not come to its end."""
    words = ("state", "restore", str(export), "--replace-foreign", str(export.parent / "www"))
    argv = [sys.executable, "-m", "tests.runtime.dying", *words]
    return subprocess.run(argv, env={**node.env, **how}, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_it_is_restored_with_what_waited_cancelled_or_going_on_as_asked(other: Node, export: Path) -> None:
    named = ("--replace-foreign", str(export.parent / "www"))
    row = other.json("state", "restore", str(export), *named)
    assert len(row["cancelled"]) == 4 and (export.parent / "www/page").read_text() == "forged"
    assert {task["status"] for task in other.json("task", "list")} == {"cancelled"}
    assert not (export.parent / "ran").exists()
    other.json("state", "restore", row["before"], "--workspace", "ann")
    assert (export.parent / "www/page").read_text() == "precious"


def test_what_is_left_out_as_it_is_nobodys_here_is_no_agents_workspace_either(other: Node, export: Path) -> None:
    """Else the next restore of the same file would find it at home there."""
    row = other.json("state", "restore", str(export), "--skip-failed")
    assert [each["agent"] for each in row["skipped"]] == ["ann"]
    assert {agent["id"]: agent["workspace"] for agent in other.json("agent", "list")} == {"ann": None, "cy": None}
    assert other.run("state", "restore", str(export)).returncode == 4
    assert (export.parent / "www/page").read_text() == "precious"
