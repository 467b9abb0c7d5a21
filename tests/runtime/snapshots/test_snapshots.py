"""Snapshots of agents at work, as their users take them: real daemon, real processes, real archives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from maestro.model.events import RunEnded, RunStarted
from maestro.runtime.supervision.processes import children, state
from maestro.workspaces.archive.library import Archive
from tests.runtime.acting import Node, marked, until

MAESTRO = (sys.executable, "-m", "maestro")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("snapshots")) as node:
        for agent in ("ann", "ben"):
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(node.folder / agent))
        yield node


def snapshot(node: Node, *words: str) -> dict[str, Any]:
    row: dict[str, Any] = node.json("state", "snapshot", *words)
    return row


def content(node: Node, snapshot: str, agent: str, to: Path) -> Path:
    """A workspace as a snapshot holds it."""
    Archive(node.home / "snapshots").restore(snapshot, f"workspaces/{agent}", to)
    return to


def busy(node: Node, agent: str, script: str, *words: str) -> tuple[str, str]:
    """A run that is on: its task and its mark."""
    mark = f"{agent}-{os.urandom(4).hex()}"
    task = str(node.dispatch(f"exec env MARK={mark} sh -c '{script}'", "--to", agent, *words)["id"])
    until(lambda: marked(mark))
    return task, mark


def test_two_files_that_an_agent_writes_one_after_the_other_are_of_one_moment(node: Node, tmp_path: Path) -> None:
    task, _ = busy(node, "ann", "i=0; while :; do i=$((i+1)); echo $i > one; echo $i > two; done")
    until(lambda: (node.folder / "ann" / "two").exists())
    for number in range(5):
        row = snapshot(node)
        assert row["torn"] == []
        there = content(node, row["id"], "ann", tmp_path / str(number))
        one, two = ((there / name).read_text() for name in ("one", "two"))
        assert one == "" or two == "" or int(one) - int(two) in (0, 1)
    before = (node.folder / "ann" / "one").stat().st_mtime_ns
    until(lambda: (node.folder / "ann" / "one").stat().st_mtime_ns > before)
    node.json("task", "cancel", task)


def test_what_the_log_says_was_done_is_in_the_workspace_and_nothing_else(node: Node, tmp_path: Path) -> None:
    for number in range(14):
        node.dispatch(f"sleep 0.05; echo $MAESTRO_TASK_ID > did-{number}", "--to", ("ann", "ben")[number % 2])
    rows = [snapshot(node) for _ in range(6)]
    until(lambda: not node.json("queue", "status"))
    facts = [(event.seq, event.fact) for event in node.events()]
    for row in rows:
        started = {fact.task for seq, fact in facts if seq < row["position"] and isinstance(fact, RunStarted)}
        ended = {fact.task for seq, fact in facts if seq < row["position"] and isinstance(fact, RunEnded)}
        for agent in ("ann", "ben"):
            there = content(node, row["id"], agent, tmp_path / f"{row['id']}-{agent}")
            did, does = written(there), written(node.folder / agent)
            assert did <= started, "what had not started by the cut has left something"
            assert ended & does <= did, "what had ended by the cut has left nothing"


def written(folder: Path) -> set[str]:
    """The tasks that have written their file."""
    return {path.read_text().strip() for path in folder.glob("did-*")} - {""}


def taken_until_paused(node: Node) -> tuple[subprocess.Popen[bytes], str, int] | None:
    """A snapshot as soon as it has paused a run, with task and process of that; None where it was not seen to."""
    with (node.folder / "ben" / "large").open("wb") as file:
        for _ in range(20):
            file.write(os.urandom(10 << 20))
    task, mark = busy(node, "ann", "sleep 1.2; echo finished", "--timeout", "4")
    (agent, *_) = marked(mark)
    taking = subprocess.Popen(
        [*MAESTRO, "state", "snapshot"], env=node.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    while state(agent) != "T":
        if taking.poll() is not None:
            node.run("task", "wait", task)
            return None
    return taking, task, agent


def test_a_timeout_does_not_run_while_the_agent_is_paused(node: Node) -> None:
    taking, task, agent = until(lambda: taken_until_paused(node))
    node.signal(signal.SIGSTOP)
    assert state(agent) == "T", "it went on before the daemon was stopped"
    time.sleep(4.5)
    node.signal(signal.SIGCONT)
    assert taking.wait(30) == 0
    assert node.run("task", "wait", task).returncode == 0
    assert node.task(task)["status"] == "completed"
    assert not [event for event in node.events("agent.health_changed")], "a paused agent is not ill"
    (node.folder / "ben" / "large").unlink()


def test_rolling_pauses_one_after_the_other_and_each_has_a_position_of_its_own(node: Node) -> None:
    row = snapshot(node, "--rolling")
    assert [workspace["agent"] for workspace in row["workspaces"]] == ["ann", "ben"]
    assert all(workspace["position"] <= row["position"] for workspace in row["workspaces"])
    assert node.json("state", "verify", row["id"])["ok"]


def test_a_file_that_others_keep_writing_fails_the_snapshot_unless_it_may_be_torn(node: Node) -> None:
    """On a busy machine the writers may all stand still for a moment, and the snapshot is whole then."""
    path = node.folder / "ben" / "busy"
    older = snapshot(node)
    writers = [subprocess.Popen(["sh", "-c", f"while :; do echo more >> {path}; done"]) for _ in range(3)]
    try:
        until(path.exists)
        done = until(lambda: (found := node.run("state", "snapshot")).returncode and found)
        assert done.returncode == 4
        assert "workspaces/ben/busy" in done.stderr and "torn" in done.stderr
        allowed = until(lambda: (found := snapshot(node, "--allow-torn"))["torn"] and found)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        path.unlink()
    assert "workspaces/ben/busy" in allowed["torn"]
    failed = next(row for row in node.json("state", "snapshots", "--all") if row["state"] == "failed")
    assert "changed while" in failed["why"]
    assert node.json("state", "verify", older["id"])["ok"]
    assert node.dispatch("echo on", "--to", "ben", "--sync")["status"] == "completed"


def test_a_second_snapshot_waits_for_the_first(node: Node) -> None:
    taking = [
        subprocess.Popen([*MAESTRO, "state", "snapshot"], env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in taking]
    assert [process.returncode for process in taking] == [0, 0, 0, 0]
    assert len({json.loads(out)["id"] for out, _ in answers}) == 4
    order = [(event.type, event.subject) for event in node.events() if event.type.startswith("snapshot.")][-8:]
    for begin, end in zip(order[::2], order[1::2], strict=True):
        assert (begin[0], end[0], begin[1]) == ("snapshot.started", "snapshot.taken", end[1])


def test_an_export_is_understood_by_tar_and_sha256sum_and_proved_by_maestro(node: Node, tmp_path: Path) -> None:
    odd = node.folder / "ann" / "sub dir" / "odd\nname"
    odd.parent.mkdir()
    odd.write_text("content")
    os.utime(odd, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    out = tmp_path / "x.tar.gz"
    latest = snapshot(node)["id"]
    row = snapshot(node, "--output", str(out), "--include-logs")
    assert out.stat().st_mode & 0o777 == 0o600
    assert (row["path"], row["file_bytes"], row["latest"]) == (str(out), out.stat().st_size, False)
    assert row["expires_at"], "what is left of it here is not for ever"
    listed = subprocess.run(["tar", "-tzf", out], capture_output=True, check=True, text=True).stdout
    for name in ("workspaces/ann/", "checkpoint/registry.yaml", "SHA256SUMS"):
        assert name in listed
    assert "/agent.log" in listed
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run(["tar", "-xzf", out, "-C", there], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=there, check=True)
    copy = there / "workspaces" / "ann" / "sub dir" / "odd\nname"
    assert copy.read_text() == "content"
    assert copy.stat().st_mtime_ns == 1_600_000_000_123_456_789
    proved = node.json("state", "verify", str(out))
    assert (proved["ok"], proved["snapshot"], proved["position"]) == (True, row["id"], row["position"])
    assert set(proved["views"]) >= {"tasks", "agents", "snapshots"}
    assert (node.home / "snapshots" / "latest").readlink() == Path("manifests") / latest
    damaged = bytearray(out.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "y.tar.gz").write_bytes(damaged)
    assert node.run("state", "verify", str(tmp_path / "y.tar.gz")).returncode == 6


def test_one_workspace_is_taken_by_its_path_or_its_agent(node: Node) -> None:
    for named in (str(node.folder / "ben"), "ben"):
        assert snapshot(node, "--workspace", named)["agents"] == ["ben"]
    both = snapshot(node, "--workspace", "ann", "--workspace", str(node.folder / "ben"))
    assert both["agents"] == ["ann", "ben"]


def test_what_cannot_be_is_refused_before_anybody_is_paused(node: Node, tmp_path: Path) -> None:
    def happened() -> list[int]:  # but for alerts of what the tests before have had fail
        return [event.seq for event in node.events() if not event.subject.startswith("alert:")]

    before = happened()
    for code, words in {
        3: ("--workspace", "nobody"),
        2: ("--output", str(tmp_path)),
    }.items():
        assert node.run("state", "snapshot", *words).returncode == code
    assert node.run("state", "snapshot", "--output", str(tmp_path / "no" / "x.tar.gz")).returncode == 3
    assert node.run("state", "pin", "nothing").returncode == 3
    assert node.run("state", "verify", "nothing").returncode == 3
    assert node.run("state", "verify", str(tmp_path / "no.tar.gz")).returncode == 3
    assert happened() == before


def test_the_workspaces_of_another_node_are_kept_there(node: Node) -> None:
    with Node(node.folder / "other", MAESTRO_REDIS_URL=node.url, MAESTRO_NAMESPACE=node.namespace) as other:
        row = other.up().json("state", "snapshot")
        assert row["nodes"] == [node.id] and {"ann", "ben"} <= set(row["agents"])
        other.json("agent", "assign", "shell", "--name", "eve", "--to-workspace", str(other.folder / "eve"))
        assert other.json("state", "snapshot", "--workspace", "eve")["agents"] == ["eve"]
        other.json("agent", "stop", "eve")


def test_nothing_of_a_snapshot_under_way_is_left_behind(node: Node) -> None:
    assert [path.name for path in (node.home / "taking").iterdir()] == ["lock"]
    assert list((node.home / "proving").iterdir()) == []
    assert not [pid for pid in children(node.pid) if state(pid) == "T"]


def test_a_workspace_of_many_small_files_comes_back_with_processes_that_help(node: Node) -> None:
    """As the daemon takes, proves and restores it; nothing of it is left behind."""
    many = node.folder / "ben" / "many"
    for number in range(3300):
        folder = many / str(number % 30)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{number}\n" * 50)
    row = snapshot(node, "--workspace", "ben")
    assert node.json("state", "verify", row["id"])["ok"]
    shutil.rmtree(many / "7")
    (many / "8" / "8.txt").write_text("other")
    (many / "new").write_text("new")
    assert node.run("state", "restore", row["id"], "--workspace", "ben").returncode == 0
    texts = {int(path.stem): path.read_text() for path in many.rglob("*.txt")}
    assert texts == {number: f"{number}\n" * 50 for number in range(3300)}
    assert not (many / "new").exists()
    assert not [words for words in map(cmdline, psutil.process_iter()) if str(node.home / "snapshots") in words]
    shutil.rmtree(many)


def cmdline(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words
