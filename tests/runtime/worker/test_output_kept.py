"""What runs print and answer, as their users get it: followed from the queue on, capped in the middle, never lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.runtime.supervision.spec import LOG_BYTES_MAX
from tests.runtime.acting import PATIENCE_S, Node, marked, until

FLOOD = "head -c {size} /dev/zero | tr '\\0' '{letter}'; echo"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("kept")) as node:
        node.agent_type("worker", adapter="shell")
        for name in ("w1", "w2"):
            node.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        yield node


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Following:
    """`task logs --follow`, at work."""

    def __init__(self, node: Node, task: str, *words: str) -> None:
        self._out = node.folder / f"followed-{os.urandom(4).hex()}"
        self._err = self._out.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            command = [sys.executable, "-m", "maestro", "task", "logs", "--follow", task, *words]
            self.process = subprocess.Popen(command, env=node.env, stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def end(self) -> str:
        assert self.process.wait(PATIENCE_S) == 0, self.err
        return self.out


def blocked(node: Node, agent: str) -> tuple[str, Path]:
    """A task that keeps an agent busy until a file is there."""
    go = node.folder / f"go-{os.urandom(4).hex()}"
    task = str(node.dispatch(f"until test -e {go}; do sleep 0.05; done", "--to", agent)["id"])
    until(lambda: node.task(task)["status"] == "running")
    return task, go


# ---- following ----


def test_a_queued_task_is_followed_from_its_start_to_its_end(node: Node) -> None:
    _, go = blocked(node, "w1")
    queued = str(node.dispatch("echo one; sleep 0.3; echo two", "--to", "w1")["id"])
    following = Following(node, queued)
    until(lambda: "has not started yet" in following.err)
    assert following.process.poll() is None
    go.touch()
    assert following.end() == "one\ntwo\n"


def test_all_attempts_are_followed_until_the_task_has_ended(node: Node) -> None:
    flag = node.folder / "tried"
    prompt = f"echo attempt; test -e {flag} || {{ touch {flag}; exit 3; }}; echo done"
    _, go = blocked(node, "w1")
    task = str(node.dispatch(prompt, "--to", "w1", "--retries", "2")["id"])
    following = Following(node, task)
    until(lambda: "has not started yet" in following.err)
    go.touch()
    assert following.end() == "attempt\nattempt\ndone\n"
    assert "attempt 2 of w1" in following.err


def test_a_task_for_several_agents_is_followed_agent_by_agent(node: Node) -> None:
    _, go = blocked(node, "w2")
    task = str(node.dispatch("echo by $MAESTRO_AGENT_ID", "--to", "w1,w2")["id"])
    following, one = Following(node, task), Following(node, task, "--agent", "w2")
    until(lambda: "by w1" in following.out)
    go.touch()
    assert following.end() == "by w1\nby w2\n"
    assert one.end() == "by w2\n"


def test_a_task_that_is_cancelled_in_the_queue_ends_its_following_with_the_reason(node: Node) -> None:
    _, go = blocked(node, "w1")
    queued = str(node.dispatch("echo never", "--to", "w1")["id"])
    following = Following(node, queued)
    until(lambda: "has not started yet" in following.err)
    node.json("task", "cancel", queued, "--reason", "not needed")
    assert following.end() == ""
    assert "is cancelled and never ran: not needed" in following.err
    go.touch()


def test_the_log_of_a_finished_task_is_shown_and_that_of_a_queued_one_is_empty_without_follow(node: Node) -> None:
    _, go = blocked(node, "w1")
    queued = str(node.dispatch("echo later", "--to", "w1")["id"])
    shown = node.run("task", "logs", queued)
    assert (shown.returncode, shown.stdout) == (0, "")
    go.touch()
    node.run("task", "wait", queued)
    assert Following(node, queued).end() == "later\n" == node.run("task", "logs", queued).stdout


# ---- the cap ----


def test_of_a_flood_the_beginning_and_the_end_are_kept_followed_and_told(node: Node) -> None:
    middle = FLOOD.format(size=LOG_BYTES_MAX, letter="m")
    go = node.folder / "go-flood"
    prompt = f"echo the beginning; {middle}; until test -e {go}; do sleep 0.05; done; {middle}; echo the end"
    task = str(node.dispatch(prompt, "--to", "w1")["id"])
    until(lambda: node.task(task)["runs"] and list(Path(node.task(task)["runs"][0]["log"]).parent.glob("agent.log.*")))
    assert node.run("task", "logs", task).stdout.startswith("the beginning\n")
    node.json("state", "snapshot", "--output", str(node.folder / "logs.tar.gz"), "--include-logs")
    with tarfile.open(node.folder / "logs.tar.gz") as archive:
        (kept,) = [entry for entry in archive if entry.name.endswith(f"{task}/1/agent.log")]
        assert kept.size > LOG_BYTES_MAX // 2
    following = Following(node, task)
    go.touch()
    followed = following.end()
    assert followed.startswith("the beginning\n") and followed.endswith("\nthe end\n")
    row = node.task(task)
    log = Path(row["runs"][0]["log"])
    assert [file.name for file in log.parent.glob("agent.log*")] == ["agent.log"]
    content = log.read_bytes()
    assert content.startswith(b"the beginning\n") and content.endswith(b"\nthe end\n")
    assert len(content) < LOG_BYTES_MAX + 256
    (left_out,) = re.findall(rb"\n\[maestro: (\d+) bytes are left out here, above the cap", content)
    assert f"{int(left_out)} bytes of the middle of its log were left out, above the cap" in row["runs"][0]["evidence"]
    assert node.run("agent", "logs", "w1", "--lines", "1").stdout == "the end\n"


def test_a_warden_that_is_killed_in_a_flood_leaves_the_beginning_and_the_end(node: Node) -> None:
    mark = f"flood-{os.urandom(4).hex()}"
    prompt = f"export MARK={mark}; echo begin; {FLOOD.format(size=2 * LOG_BYTES_MAX, letter='x')}; echo last; sleep 600"
    task = str(node.dispatch(prompt, "--to", "w2")["id"])
    until(lambda: node.task(task)["runs"] and "last" in node.run("agent", "logs", "w2", "--lines", "1").stdout)
    (asleep,) = until(lambda: marked(mark))
    os.kill(parent(parent(asleep)), signal.SIGKILL)  # of its shell: the warden
    until(lambda: node.task(task)["runs"][0]["status"] == "ended")
    node.json("task", "cancel", task)
    log = Path(node.task(task)["runs"][0]["log"])
    content = log.read_bytes()
    assert content.startswith(b"begin\n") and content.endswith(b"last\n") and b"bytes are left out here" in content
    assert [file.name for file in log.parent.glob("agent.log*")] == ["agent.log"]


# ---- folders that are removed ----


def test_a_folder_of_a_run_that_is_removed_under_it_costs_neither_its_log_nor_its_result(node: Node) -> None:
    go = node.folder / "go-removed"
    task = str(node.dispatch(f"echo one; until test -e {go}; do sleep 0.05; done; echo two", "--to", "w1")["id"])
    log = until(lambda: node.task(task)["runs"] and node.task(task)["runs"][0]["log"])
    until(lambda: Path(log).exists() and "one" in Path(log).read_text())
    shutil.rmtree(node.root)
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    assert node.task(task)["runs"][0]["result"] == "one\ntwo"
    assert node.run("task", "logs", task).stdout == "one\ntwo\n"
    assert node.root.stat().st_mode & 0o777 == 0o700
    node.dispatch("true", "--to", "w1", "--sync")


def test_a_workspace_that_is_removed_under_a_run_is_named_in_the_evidence(node: Node) -> None:
    go, workspace = node.folder / "go-cwd", node.folder / "w2"
    task = str(node.dispatch(f"until test -e {go}; do sleep 0.05; done; cat nothing", "--to", "w2")["id"])
    until(lambda: node.task(task)["status"] == "running")
    aside = workspace.rename(node.folder / "w2-aside")
    go.touch()
    assert node.run("task", "wait", task).returncode == 1
    evidence = node.task(task)["runs"][0]["evidence"]
    assert f"the folder that it worked in, {workspace}, was removed or replaced while it ran" in evidence
    aside.rename(workspace)


# ---- results ----


@pytest.mark.parametrize("size", [0, 10, 1024, 1025, 20_000, 60_000])
def test_a_result_is_a_text_whatever_its_size(node: Node, size: int) -> None:
    task = node.dispatch(f"head -c {size} /dev/zero | tr '\\0' x", "--to", "w1", "--sync")
    for row in (task, node.task(str(task["id"])), node.json("task", "list", "--limit", "1")[0]):
        (run,) = row["runs"]
        assert (run["result"], run["result_bytes"]) == ("x" * size, size)
        assert (run["result_blob"] is not None) == (size > 1024)


def test_the_results_of_several_agents_are_texts_in_the_state_too(node: Node) -> None:
    task = node.dispatch(
        'case "$MAESTRO_AGENT_ID" in w1) head -c 5000 /dev/zero | tr "\\0" x;; *) echo short;; esac',
        "--to",
        "w1,w2",
        "--sync",
    )
    key = f"task:{task['id']}:result"
    assert json.loads(node.json("state", "get", key)["value"]) == {"w1": "x" * 5000, "w2": "short"}
    forged = json.dumps({"w1": {"blob": task["runs"][0]["result_blob"], "size": 5000}})
    node.json("state", "set", key, forged)
    assert node.json("state", "get", key)["value"] == forged
