"""Commands in situations that people get into: what they answer, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from maestro.model.agent import Agent
from maestro.model.assignment import why_not_renewed
from maestro.runtime.handlers.run_output import GLANCE_CHARS_MAX, newest_lines
from maestro.runtime.protocol import messages as p
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("odd")) as node:
        node.json("agent", "assign", "shell", "--name", "w", "--to-workspace", f"{node.folder}/w")
        yield node


def test_a_task_that_has_finished_is_so_whatever_the_timeout(node: Node) -> None:
    task = node.dispatch("true", "--to", "w", "--sync")["id"]
    for _ in range(5):
        assert node.run("task", "wait", task, "--timeout", "0").returncode == 0
    slow = node.dispatch("sleep 60", "--to", "w")["id"]
    assert node.run("task", "wait", slow, "--timeout", "0").returncode == 124
    assert node.run("task", "wait", task, slow, "--timeout", "0").returncode == 124
    node.json("task", "cancel", slow)


def test_what_is_not_there_is_told_with_3(node: Node) -> None:
    node.json("state", "snapshot")
    node.json("state", "restore", "latest")  # every subject has a version since then
    assert node.run("task", "dispatch", "true", "--to", "w", "--depends-on", "nothing").returncode == 3
    for subject in ("task:nothing", "nothing", "agent:nothing"):
        assert node.run("audit", subject).returncode == 3
    assert node.json("audit", "agent:w")
    assert node.json("audit", "agent:w", "--type", "log") == []
    task = node.dispatch("true", "--to", "w", "--sync")["id"]
    for row in node.json("audit", task):  # a first event behind a restore links to that, which is no part of the story
        assert task in row["subject"], row


def test_a_type_that_was_registered_from_a_file_elsewhere_can_be_assigned(node: Node) -> None:
    file = node.folder / "elsewhere.yaml"
    file.write_text('{"slug": "afar", "adapter": "shell"}')
    assert node.run("agent", "assign", "afar").returncode == 3
    node.json("agent", "register", "--file", str(file))
    assert node.json("agent", "assign", "afar", "--to-workspace", f"{node.folder}/afar")["type"] == "afar"
    assert node.run("task", "dispatch", "exit 7", "--to", "afar", "--sync").returncode == 7


def test_one_type_that_is_not_valid_is_told_by_the_exit_code(node: Node) -> None:
    file = node.agents / "broken.yaml"
    file.write_text('{"slug": "broken", "adapter": "nowhere"}')
    done = node.run("agent", "register")
    file.unlink()
    assert done.returncode == 2 and "broken is not valid" in done.stderr
    assert node.run("agent", "register").returncode == 0


def test_a_queue_that_is_cut_begins_with_what_runs_and_goes_on_in_the_order_of_turns(node: Node) -> None:
    running = node.dispatch("sleep 60", "--to", "w")["id"]
    assert until(lambda: node.json("task", "status", running)["status"] == "running")
    lines = "".join(json.dumps({"prompt": f"echo {n}", "to": "w"}) + "\n" for n in range(9))
    batch = node.run("task", "dispatch", "--batch", "-", "--batch-key", "order", stdin=lines)
    order = [running, *(json.loads(line)["id"] for line in batch.stdout.splitlines())]
    for limit in (1, 3, 9):
        rows = node.json("queue", "status", "--limit", str(limit))
        assert [row["task"] for row in rows] == order[:limit]
    for task in reversed(order):
        node.json("task", "cancel", task)


def test_an_empty_or_odd_name_moves_nothing(node: Node) -> None:
    before = node.json("agent", "list")
    for name in ("", "../../x", "bad name/..", "a,b", "role:x"):
        refused = node.run("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/moved")
        assert refused.returncode == 2 and "agent id" in refused.stderr, refused
    after = node.json("agent", "list")
    assert [row["workspace"] for row in after] == [row["workspace"] for row in before]
    assert not (node.folder / "moved").exists()


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    argv = [sys.executable, "-m", "maestro", "agent", "list"]
    env = os.environ | {"MAESTRO_HOME": str(tmp_path / "file")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and str(tmp_path / "file") in done.stderr and done.stderr.count("\n") == 1


def test_a_dispatch_to_an_agent_whose_node_was_shut_down_says_what_it_waits_for(tmp_path: Path) -> None:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    try:
        with Node(tmp_path / "a", **env) as a, Node(tmp_path / "b", **env) as b:
            b.json("agent", "assign", "shell", "--name", "there", "--to-workspace", f"{b.folder}/there")
            b.json("shutdown")
            a.up()
            done = a.run("task", "dispatch", "true", "--to", "there", "--async")
            assert done.returncode == 0 and f"there waits for node {b.id}, which is down" in done.stderr
            b.up()
            until(lambda: a.json("task", "list")[0]["status"] == "completed")
            assert "waits for" not in a.run("task", "dispatch", "true", "--to", "there", "--async").stderr
    finally:
        server.close()


LIMITED = {
    p.TaskList: ("task", "list"),
    p.QueueStatus: ("queue", "status", "--completed"),
    p.StateSnapshots: ("state", "snapshots"),
    p.EventsTail: ("events", "tail"),
    p.AlertList: ("monitor", "alerts"),
}
CUT_ELSEWHERE = (p.WorkflowRuns, p.DeliveryTake)
"""The test of the one is `test_runs_are_listed_newest_first_and_a_cut_list_says_so`; the other is none for people."""


def test_every_list_with_a_limit_says_what_it_leaves_out(node: Node) -> None:
    commands = typing.get_args(p.AnyCommand)
    assert {command for command in commands if "limit" in command.__struct_fields__} == {*LIMITED, *CUT_ELSEWHERE}
    for _ in range(2):
        node.dispatch("yes | head -n 40000", "--to", "w", "--sync")
        node.json("state", "snapshot")
        node.dispatch("exit 3", "--to", "w", "--sync", code=3)
    until(lambda: len(node.json("monitor", "alerts")) >= 2)
    for words in LIMITED.values():
        done = node.run(*words, "--limit", "1", "--counted")
        answer = json.loads(done.stdout)
        assert len(answer["rows"]) == 1 and answer["truncated"] is True, words
        assert f"only 1 of {answer['total']} " in done.stderr and answer["total"] > 1
        whole = node.run(*words, "--limit", str(answer["total"] + 20), "--counted")  # some wrote events meanwhile
        assert json.loads(whole.stdout)["truncated"] is False and whole.stderr == "", words
    begun = node.run("events", "tail", "--from", "2", "--limit", "3")
    assert [row["seq"] for row in json.loads(begun.stdout)] == [2, 3, 4]
    assert begun.stderr == "maestro: only 3 events are shown; --from 5 goes on behind them\n"
    since = node.run("task", "list", "--since", "1h", "--limit", "1")
    assert since.stderr == "maestro: only 1 task is shown; --limit takes up to 100000\n"


def test_a_log_of_which_health_shows_a_part_says_so(node: Node) -> None:
    node.dispatch("seq 1 40000", "--to", "w", "--sync")
    done = node.run("agent", "health", "w", "--log-lines", "30000", "--format", "json")
    report = json.loads(done.stdout)
    assert report["log"][-1] == "40000" and report["log_truncated"]
    assert f"only {len(report['log'])} lines of the log are shown; maestro agent logs w --lines 30000" in done.stderr
    assert len(node.run("agent", "logs", "w", "--lines", "30000").stdout.splitlines()) == 30_000
    few = node.run("agent", "health", "w", "--log-lines", "2", "--format", "json")
    assert json.loads(few.stdout)["log"] == ["39999", "40000"] and few.stderr == ""


def test_an_edit_of_a_definition_is_told_by_a_dispatch_and_taken_by_register(node: Node) -> None:
    node.up().agent_type("edited", adapter="shell", env={"SAID": "before"})
    node.json("agent", "assign", "edited", "--to-workspace", f"{node.folder}/edited", "--role", "sayer")
    assert node.run("task", "dispatch", "echo $SAID", "--to", "edited", "--sync").stderr == ""
    node.agent_type("edited", adapter="shell", env={"SAID": "after"})
    told = "the definition of agent edited has changed since (env): maestro agent register edited takes it"
    assert told in node.run("task", "dispatch", "echo $SAID", "--to", "edited", "--sync").stderr
    assert node.run("agent", "logs", "edited").stdout == "before\n"
    checks = {each["name"]: each for each in node.json("agent", "health", "edited", "--format", "json")["checks"]}
    assert (checks["definition"]["ok"], checks["definition"]["notable"]) == (True, True)
    assert checks["definition"]["detail"] == told
    assert f"note: definition: {told}\n" in node.run("agent", "health", "edited", "--format", "table").stdout
    registered = node.run("agent", "register", "edited")
    assert registered.stderr == "maestro: agent edited takes it from its next run on: env\n"
    assert json.loads(registered.stdout)["agents"] == ["edited"]
    assert node.run("task", "dispatch", "echo $SAID", "--to", "edited", "--sync").stderr == ""
    assert node.run("agent", "logs", "edited").stdout == "after\n"
    (row,) = (row for row in node.json("agent", "list") if row["id"] == "edited")
    assert (row["role"], row["workspace"]) == ("sayer", f"{node.folder}/edited")
    assert node.json("agent", "register", "edited")["agents"] == []


def test_a_secret_that_events_tell_in_pieces_or_escaped_is_in_no_result_and_no_evidence(node: Node) -> None:
    folder = node.folder / "secrets"
    folder.mkdir()
    (folder / "TOKEN").write_text('hünter2"/3')
    told = {"format": "ndjson", "text": {"match": {"e": "say"}, "path": "t", "take": "all"}}
    keys = {
        "bin": "/bin/sh",
        "argv": ["{bin}", "{prompt_file}"],
        "output": told,
        "success": {"fail_event": {"e": "no"}},
    }
    node.up().agent_type("teller", adapter="none", secret_env=["TOKEN"], secrets_dir=str(folder), **keys)
    said = r"""printf '%s\n' '{"e":"say","t":"it is hün"}' '{"e":"say","t":"ter2\"\/3."}' """
    said += r"""'{"e":"no","t":"h\u00FCnter2\"/3"}'"""
    row = node.dispatch(said, "--to", "teller", "--sync", code=1)
    (run,) = row["runs"]
    assert (run["outcome"], run["result"]) == ("agent_error", "it is [redacted].")
    assert '"t": "[redacted]"' in run["evidence"] and "ünter" not in json.dumps(row, ensure_ascii=False)
    (node.agents / "teller.yaml").unlink()


def test_a_retry_says_where_the_latest_session_of_an_agent_is_that_of_another_task(node: Node) -> None:
    node.up().agent_type("last", adapter="shell", resume={"args": ["-e"]})
    first = str(node.dispatch("echo begun; exit 1", "--to", "last", "--sync", code=1)["id"])
    assert "latest session" not in node.run("task", "retry", first, "--continue", "--sync").stderr
    other = str(node.dispatch("true", "--to", "last", "--sync")["id"])
    told = f"agent last goes on with its latest session, which is that of task {other}"
    assert told in node.run("task", "retry", first, "--continue").stderr
    node.run("task", "wait", first)
    (node.agents / "last.yaml").unlink()


def test_a_stopped_agent_takes_its_edited_definition_when_it_is_restarted(node: Node) -> None:
    node.agent_type("halted", adapter="shell", env={"SAID": "before"})
    node.json("agent", "assign", "halted", "--to-workspace", f"{node.folder}/halted")
    node.json("agent", "stop", "halted")
    node.agent_type("halted", adapter="shell", env={"SAID": "after"})
    left = "agent halted works by another definition, and is stopped: maestro agent restart halted takes it"
    assert left in node.run("agent", "register", "halted").stderr
    assert [row["state"] for row in node.json("agent", "list") if row["id"] == "halted"] == ["stopped"]
    assert "agent halted takes its definition as it is now: env" in node.run("agent", "restart", "halted").stderr
    node.dispatch("echo $SAID", "--to", "halted", "--sync")
    assert node.run("agent", "logs", "halted").stdout == "after\n"
    node.agent_type("halted", adapter="shell", shell="what")
    broken = node.run("agent", "restart", "halted")
    assert broken.returncode == 0 and "works by its definition as it was" in broken.stderr
    assert "cannot be read any more" in node.run("task", "dispatch", "true", "--to", "halted").stderr
    (node.agents / "halted.yaml").unlink()


def test_an_agent_of_another_node_is_left_as_it_is() -> None:
    agent = Agent("x", 1, "t", {}, "/root", node="there")
    assert why_not_renewed(agent, "here") == "is on node there: maestro agent register t, there, takes it"
    assert why_not_renewed(agent, "there") == ""


def test_what_a_run_would_lack_is_told_before_it_fails_and_a_definition_with_where_it_comes_from(node: Node) -> None:
    node.agent_type("needy", adapter="shell", secret_env=["NOT_THERE"])
    lacking = (
        "secret NOT_THERE of type needy is not there; set NOT_THERE where the daemon starts, or name a secrets_dir"
    )
    (row,) = (row for row in node.json("agent", "types", "--check") if row["slug"] == "needy")
    assert (row["valid"], row["usable"], row["lacks"]) == (True, False, [lacking])
    seems = "ONE is not set, there is no /none; set it"
    node.agent_type("doubted", adapter="shell", requires=[{"env": ["ONE"], "files": ["/none"], "mend": "set it"}])
    (row,) = (row for row in node.json("agent", "types", "--check") if row["slug"] == "doubted")
    assert (row["usable"], row["lacks"], row["reason"]) == (True, [seems], f"may fail: {seems}")
    assert node.run("agent", "register", "doubted").stderr == f"maestro: type doubted: may fail: {seems}\n"
    (node.agents / "doubted.yaml").unlink()
    assert f"maestro: type needy: {lacking}\n" == node.run("agent", "register", "needy").stderr
    (row,) = (row for row in node.json("doctor") if row["check"] == "agent needy" and row["status"] == "warning")
    assert lacking.endswith(row["remedy"])
    shown = node.json("agent", "types", "--show", "needy")
    assert shown["keys"]["secret_env"] == ["NOT_THERE"]
    assert shown["origins"]["secret_env"] == f"{node.agents}/needy.yaml:1"
    told = node.run("agent", "types", "--show", "needy", "--format", "table").stdout
    (line,) = (line for line in told.splitlines() if line.startswith("secret_env:"))
    assert line.split() == ["secret_env:", "[NOT_THERE]", "#", f"{node.agents}/needy.yaml:1"]
    assert node.run("agent", "types", "--show", "nobody").returncode == 3
    (node.agents / "needy.yaml").unlink()


class Watched:
    """A command on a terminal of its own, of which it is the leader: Ctrl-C reaches it."""

    def __init__(self, node: Node, *words: str) -> None:
        self.shown = ""
        pid, self._terminal = os.forkpty()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "maestro", *words], {**node.env, "TERM": "xterm"})
        self._pid = pid

    def until(self, text: str) -> None:
        while text not in self.shown:
            self.shown += os.read(self._terminal, 65536).decode()

    def interrupt(self) -> None:
        os.write(self._terminal, b"\x03")

    def end(self) -> int:
        with suppress(OSError):  # Linux: the other end is closed
            while piece := os.read(self._terminal, 65536):
                self.shown += piece.decode()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def test_a_terminal_that_waits_sees_what_agents_print_and_may_go_while_they_go_on(node: Node) -> None:
    node.json("agent", "assign", "shell", "--name", "v", "--to-workspace", f"{node.folder}/v")
    prompt = "printf 'so far \\033[31m%s\\n' $MAESTRO_AGENT_ID; "
    prompt += "for _ in $(seq 900); do test -e go && break; sleep 0.05; done; rm go"
    sync = Watched(node, "task", "dispatch", prompt, "--to", "w,v", "--sync")
    sync.until("w: so far w")
    sync.until("v: so far v")
    assert "\x1b[31m" not in sync.shown
    sync.interrupt()
    assert sync.end() == 130
    (first,) = re.findall("interrupted; task (\\S+) goes on", sync.shown)
    second = node.dispatch(prompt, "--to", "w")["id"]
    wait = Watched(node, "task", "wait", first, second)
    wait.until("0 of 2 ended: w running; v running; w waiting")
    wait.until("w: so far w")
    wait.interrupt()
    assert wait.end() == 130
    assert f"interrupted; 2 tasks go on: maestro task wait {first} {second}\r\n" in wait.shown
    for name in ("v", "w"):
        (node.folder / name / "go").touch()
    assert node.run("task", "wait", first).returncode == 0
    node.json("task", "cancel", second)


def test_a_glance_at_a_log_takes_its_end_only(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("begin\n" * 10_000 + "x" * 100_000 + "\n\n one\x1b[2J\n\ntwo\n")
    assert newest_lines(log, 2) == [" one", "two"]
    first, *_ = newest_lines(log, 3)
    assert set(first) == {"x"} and len(first) == GLANCE_CHARS_MAX
    assert newest_lines(tmp_path / "none", 3) == []
