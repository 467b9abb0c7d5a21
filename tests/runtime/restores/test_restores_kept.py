"""What agents write until they have been stopped is in the snapshot that undoes the restore, and undoing finds them at
work; a shell that stands in a workspace which is replaced is told where to go.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node, until

WRITES = """trap 'sleep 1; echo last >> log; exit 0' TERM
while :; do echo more >> log; sleep 0.01; done"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path) as node:
        for agent in ("ann", "ben"):
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(tmp_path / agent))
            (tmp_path / agent / "mine").write_text(f"of {agent}")
        node.json("state", "snapshot")
        yield node


def test_an_agent_in_failsafe_mode_works_again_after_a_restore_in_the_middle_of_its_run(node: Node) -> None:
    tree = node.folder / "carl"
    node.agent_type("guarded", adapter="shell", failsafe=True)
    node.json("agent", "assign", "guarded", "--to-workspace", str(tree))
    until(tree.is_dir)
    archive = node.json("state", "snapshot", "--workspace", str(tree))["id"]
    node.dispatch("touch on; sleep 60", "--to", "guarded")
    until((tree / "on").exists)
    node.json("state", "restore", archive, "--workspace", str(tree))
    assert not (tree / "on").exists()
    assert {agent["state"] for agent in node.json("agent", "list")} == {"idle"}


def test_what_a_person_writes_as_failsafe_mode_archives_a_bad_run_stays(node: Node) -> None:
    """Whenever it is written behind the run's end: before the return, which then is none, or after it."""
    tree = node.folder / "dora"
    node.agent_type("careful", adapter="shell", failsafe=True)
    node.json("agent", "assign", "careful", "--to-workspace", str(tree))
    until(tree.is_dir)
    for number in range(2000):
        (tree / str(number)).write_text("before")
    task = node.dispatch("for each in *; do echo after > $each; done; exit 1", "--to", "careful")["id"]
    until((node.root / "careful" / task / "attempts/1/exit.json").exists)
    (tree / "mine").write_text("of a person")
    until(lambda: node.task(task)["finished_at"])
    assert (tree / "mine").read_text() == "of a person"


@pytest.mark.parametrize("only", [(), ("--workspace", "ann")])
def test_the_last_thing_that_an_agent_wrote_is_kept(node: Node, only: tuple[str, ...]) -> None:
    """It writes as long as it lives, and once more when it is told to stop."""
    task = node.dispatch(WRITES, "--to", "ann")["id"]
    until(lambda: (node.folder / "ann/log").exists())
    row = node.json("state", "restore", "latest", *only)
    assert not (node.folder / "ann/log").exists()
    assert {agent["state"] for agent in node.json("agent", "list")} == {"idle"}

    node.json(*row["undo"].split()[1:])
    assert (node.folder / "ann/log").read_text().splitlines()[-1] == "last"
    assert {agent["state"] for agent in node.json("agent", "list")} == {"idle"}  # as it was, and not as it was stopped
    assert node.task(task)["status"] == "cancelled"
    assert node.dispatch("true", "--to", "ann", "--sync")["status"] == "completed"


def test_undone_with_resume_what_was_stopped_for_the_restore_runs_again(node: Node) -> None:
    task = node.dispatch("echo began >> times; exec sleep 300", "--to", "ann")["id"]
    until(lambda: (node.folder / "ann/times").exists())
    row = node.json("state", "restore", "latest")
    assert node.run("task", "status", task).returncode == 3
    node.json(*row["undo"].split()[1:], "--resume-queued")
    until(lambda: (node.folder / "ann/times").read_text() == "began\nbegan\n")
    assert node.task(task)["status"] == "running"
    node.json("task", "cancel", task)


def test_nothing_of_the_agents_begins_between_the_snapshot_and_the_exchange(node: Node) -> None:
    row = node.json("state", "restore", "latest")
    events = node.events()
    (started,) = [event.seq for event in events if event.subject == f"snapshot:{row['before']}"][:1]
    (done,) = [event.seq for event in events if event.type == "restore.done"]
    between = [event.type for event in events if started < event.seq < done]
    assert between[0] == "restore.started" and "run.released" not in between
    assert between.index("snapshot.taken") > max(at for at, kind in enumerate(between) if kind == "agent.stopped")


SHELL = """cd {cwd} || exit 9
maestro state restore latest {words} >/dev/null
cd . && cat mine
"""


@pytest.mark.parametrize(("inside", "words"), [("", ""), ("", "--workspace ann"), ("/deep", "")])
def test_a_shell_that_stands_in_a_workspace_is_told_to_go_there_again(node: Node, inside: str, words: str) -> None:
    (node.folder / f"ann{inside}").mkdir(exist_ok=True)
    (node.folder / "link").symlink_to(node.folder / "ann")
    for name in ("ann", "link"):
        (node.folder / f"ann{inside}").mkdir(exist_ok=True)
        with subprocess.Popen(["sleep", "60"], cwd=node.folder / "ann") as other:
            script = SHELL.format(cwd=node.folder / f"{name}{inside}", words=words)
            done = subprocess.run(["bash", "-c", script], env=node.env, capture_output=True, text=True, timeout=60)
            other.kill()
        said = [line for line in done.stderr.splitlines() if "you stand in the folder that was here before" in line]
        go = "`cd .`" if not inside else f"`cd {node.folder}/ann`"
        assert len(said) == 1 and said[0].endswith(go), done.stderr
        assert f"sleep (pid {other.pid}) still stands in" in done.stderr and "bash (pid" not in done.stderr
        assert (done.stdout == "of ann") is (not inside)


def test_who_stands_elsewhere_is_told_nothing(node: Node) -> None:
    done = subprocess.run(
        ["maestro", "state", "restore", "latest"], env=node.env, cwd=node.folder, capture_output=True, text=True
    )
    assert "stand" not in done.stderr and json.loads(done.stdout)["standing"] == []
