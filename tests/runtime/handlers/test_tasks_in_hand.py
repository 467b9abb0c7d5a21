"""What a user has at hand for tasks: keys, retries with dependants, results, batches, prefixes of ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.runtime.acting import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("hand")) as node:
        for name in ("w", "v"):
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", f"{node.folder}/{name}")
        yield node


@pytest.fixture
def maestro(node: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Its command line in this process, where many are called."""
    return CommandLine(node.env, capfdbinary, monkeypatch)


def test_a_key_that_meets_another_task_says_so(node: Node) -> None:
    words = ("--to", "w", "--sync", "--key", "nightly")
    first = node.run("task", "dispatch", "true", *words)
    again = node.run("task", "dispatch", "true", *words, "--strict-key")
    assert (again.returncode, again.stderr) == (0, "")
    other = node.run("task", "dispatch", "exit 9", *words, "--timeout", "60")
    assert other.returncode == 0 and other.stdout == first.stdout
    task = node.json("task", "list", "--last")["id"]
    said = f"the key 'nightly' stands for task {task}, which has another prompt, timeout"
    assert other.stderr == f"maestro: {said}; that one stands, and nothing was dispatched\n"
    strict = node.run("task", "dispatch", "exit 9", *words, "--timeout", "60", "--strict-key")
    assert strict.returncode == 4 and said in strict.stderr and not strict.stdout


def test_a_key_that_meets_another_target_registers_and_asks_nobody(node: Node) -> None:
    node.dispatch("true", "--to", "w", "--key", "once")
    for target in ("v", "nobody", "kilo-code"):  # the last two would be looked for, or registered
        done = node.run("task", "dispatch", "true", "--to", target, "--key", "once")
        assert done.returncode == 0 and "has another targets" in done.stderr
    assert {row["id"] for row in node.json("agent", "list")} == {"w", "v"}
    large = "# " + "x" * 20_000
    node.dispatch(large, "--to", "w", "--key", "large")  # a blob
    assert "nothing was dispatched" not in node.run("task", "dispatch", large, "--to", "w", "--key", "large").stderr
    assert "prompt" in node.run("task", "dispatch", large + "x", "--to", "w", "--key", "large").stderr


def test_several_tasks_are_cancelled_by_one_command_whatever_becomes_of_one(node: Node) -> None:
    tasks = [node.dispatch("sleep 60", "--to", "w")["id"] for _ in range(2)]
    done = node.run("task", "cancel", tasks[0], "nothing", tasks[1])
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == tasks
    assert done.returncode == 3 and "there is no task 'nothing'" in done.stderr
    for task in tasks:
        assert json.loads(node.run("task", "wait", task).stdout)["status"] == "cancelled"


def test_a_retry_that_would_be_skipped_at_once_names_what_to_retry(node: Node) -> None:
    first = node.dispatch("exit 3", "--to", "w")["id"]
    second = node.dispatch("true", "--to", "w", "--depends-on", first)["id"]
    node.run("task", "wait", first, second)
    done = node.run("task", "retry", second)
    assert done.returncode == 4 and f"it depends on task {first}, which is failed" in done.stderr
    assert f"maestro task retry {first} --with-dependants" in done.stderr
    assert node.json("task", "status", second)["status"] == "skipped"


def test_a_retry_offers_what_was_skipped_for_it(node: Node) -> None:
    good = f"{node.folder}/good"
    first = node.dispatch(f"test -e {good}", "--to", "w")["id"]
    failed = node.dispatch("exit 3", "--to", "v", "--sync", code=3)["id"]
    second = node.dispatch("true", "--to", "w", "--depends-on", first)["id"]
    third = node.dispatch("true", "--to", "v", "--depends-on", second)["id"]
    both = node.dispatch("true", "--to", "v", "--depends-on", f"{first},{failed}")["id"]
    assert node.run("task", "wait", first, second, third, both).returncode == 1
    done = node.run("task", "retry", first, "--sync", "-q")
    assert done.returncode == 1 and done.stdout == f"{first}\n"
    assert f"{second}, {third}; to retry that too: maestro task retry {first} --with-dependants" in done.stderr
    assert both not in done.stderr
    (node.folder / "good").write_text("")
    plain = node.json("task", "retry", first, "--sync")
    assert plain["status"] == "completed" and plain["dependants"] == []
    done = node.run("task", "retry", first, "--with-dependants", "--sync", "-q")
    assert done.returncode == 0 and done.stdout.split() == [first, second, third]
    assert f"task {both} stays skipped: it depends on task {failed} too: failed" in done.stderr
    assert len(node.task(first)["runs"]) == 3  # not once more: it had completed
    assert [node.task(each)["status"] for each in (second, third, both)] == ["completed", "completed", "skipped"]


def batch(node: Node, *lines: dict[str, Any] | str) -> str:
    """A file with these lines; its path."""
    path = node.folder / f"{os.urandom(4).hex()}.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_a_batch_is_dispatched_line_by_line_with_dependencies_by_key(node: Node) -> None:
    path = batch(
        node,
        {"prompt": "echo one", "to": "w", "key": "b-one"},
        "",
        {"prompt": "echo two", "to": ["v"], "depends_on": "b-one", "timeout": 60, "priority": 1, "verify": "true"},
        {"prompt": "exit 4", "to": "w,v", "depends_on": ["b-one"], "retries": 0, "budget_tokens": 10},
    )
    done = node.run("task", "dispatch", "--batch", path)
    assert done.returncode == 0 and done.stderr == "", done
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["line"], row["title"], row["there"]) for row in rows] == [
        (1, "echo one", False),
        (3, "echo two", False),
        (4, "exit 4", False),
    ]
    first, second, third = (row["id"] for row in rows)
    assert node.run("task", "wait", first, second, third).returncode == 4
    told = node.task(second)
    assert (told["depends_on"], told["timeout_s"], told["priority"], told["verify"]) == ([first], 60, 1, "true")
    again = node.run("task", "dispatch", "--batch", path, "-q")
    assert again.returncode == 0 and again.stdout.split() == [first, second, third]
    assert "3 of 3 tasks had been dispatched before; --batch-key NAME makes" in again.stderr
    new = node.run("task", "dispatch", "--batch", "-", "--batch-key", "n", "-q", stdin=Path(path).read_text())
    assert new.returncode == 0 and new.stdout.split()[0] == first and second not in new.stdout
    words = [sys.executable, "-m", "maestro", "task", "dispatch", "--batch", "/dev/stdin", "-q"]
    with Path(path).open() as file:  # the daemon has another file of this name
        own = subprocess.run(words, env=node.env, stdin=file, capture_output=True, text=True)
    assert own.stdout.split() == [first, second, third], own
    assert not list(node.home.glob("batch-*"))


def test_a_batch_whose_writer_is_not_waited_for_leaves_no_copy(node: Node) -> None:
    words = [sys.executable, "-m", "maestro", "task", "dispatch", "--batch", "-"]
    with subprocess.Popen(
        words,
        env=node.env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # what a shell starts behind & ignores it
    ) as command:
        while not list(node.home.glob("batch-*")):
            assert command.poll() is None
        command.send_signal(signal.SIGINT)
        assert command.stderr is not None and command.stderr.read() == "maestro: interrupted\n"
    assert command.returncode == 130
    assert not list(node.home.glob("batch-*"))


def test_all_errors_of_a_batch_are_told_and_nothing_is_dispatched(node: Node) -> None:
    before = node.json("task", "list", "--last")["id"]
    node.json("agent", "assign", "shell", "--name", "reviewer", "--to-workspace", f"{node.folder}/reviewer")
    path = batch(
        node,
        {"prompt": "true", "to": "w", "key": "c-one"},
        {"prompt": " ", "to": "nobody", "prioriti": 3},
        "{",
        {"prompt": "true", "to": "w", "key": "c-one", "priority": 9, "retries": "x", "timeout": -1},
        {"to": ["w", "w", "role:none"], "depends_on": ["c-late", "c-one", "no-task"]},
        {"prompt": "true", "to": "w", "key": "c-late"},
        {"prompt": "true", "to": "reviewr"},
    )
    done = node.run("task", "dispatch", "--batch", path)
    assert done.returncode == 2 and done.stdout == ""
    *errors, end = done.stderr.splitlines()
    assert end == f"maestro: {path}: 13 errors, so nothing was dispatched; mend these lines and give it again"
    told = [error.removeprefix(f"{path}:") for error in errors]
    said = [
        "2: unknown key 'prioriti'; did you mean priority?",
        "2: the prompt is empty; say what the agent should do",
        "2: no agent type nobody; write nobody.yaml",
        "3: not JSON",
        "4: retries: expected `int`, got `str`",
        "4: priority 9 is out of range; use 1 (most urgent) to 5",
        "4: timeout -1",
        "4: the key 'c-one' is that of line 1 already",
        "5: prompt is missing",
        "5: no agent matches 'role:none'",
        "5: depends_on: 'c-late' is the key of line 6, which comes no earlier",
        "5: depends_on: there is no task 'no-task', and no earlier line has that key",
        "7: no agent type reviewr; did you mean 'reviewer'?",
    ]
    assert [text for text in said if not any(line.startswith(text) for line in told)] == [], "\n".join(told)
    assert len(told) == len(said)
    assert node.json("task", "list", "--last")["id"] == before


def test_a_batch_that_was_broken_off_is_finished_and_one_that_was_altered_is_told(node: Node) -> None:
    first = {"prompt": "true", "to": "w", "key": "d-one"}
    half = node.run("task", "dispatch", "--batch", batch(node, first), "-q").stdout.split()
    rest = {"prompt": "true", "to": "v", "depends_on": "d-one"}
    path = batch(node, first, rest)
    done = node.run("task", "dispatch", "--batch", path, "-q")
    assert done.stdout.split()[0] == half[0] and "1 of 2 tasks had been dispatched before" in done.stderr
    altered = batch(node, first | {"prompt": "false"}, rest)
    done = node.run("task", "dispatch", "--batch", altered, "-q")
    assert done.returncode == 0 and f"{altered}:1: the key 'd-one' stands for task {half[0]}, which has" in done.stderr
    strict = node.run("task", "dispatch", "--batch", altered, "--strict-key")
    assert strict.returncode == 4 and strict.stdout == "" and "another prompt" in strict.stderr


def test_results_are_printed_whole_and_as_they_are(node: Node) -> None:
    text = "\x1b[31mred\x1b[0m " + "ä" * 3000
    printing = f"printf '%s' '{text}'"
    one = node.dispatch(printing, "--to", "w", "--sync")["id"]
    told = node.task(one)["runs"][0]
    assert told["result_blob"] and told["result"] == node.task(one[:-1])["runs"][0]["result"]
    done = node.run("task", "result", one)
    assert (done.returncode, done.stdout, done.stderr) == (0, told["result"], "")
    assert node.json("task", "result", one, "--format", "json") == {"w": told["result"]}
    assert "ä" * 3000 in node.run("task", "status", one, "--full", "--format", "table").stdout
    two = node.dispatch('echo "of $MAESTRO_AGENT_ID"', "--to", "w,v", "--sync")["id"]
    assert node.json("task", "result", two) == {"w": "of w", "v": "of v"}
    assert node.run("task", "result", two, "--agent", "v").stdout == "of v"
    assert node.run("task", "result", two, "--format", "table").stdout == "== w ==\nof w\n\n== v ==\nof v\n"
    silent = node.dispatch("true", "--to", "w", "--sync")["id"]
    nothing = node.run("task", "result", silent)
    assert (nothing.returncode, nothing.stdout) == (0, "") and f"maestro task logs {silent}" in nothing.stderr
    assert node.run("task", "result", two, "--agent", "x").returncode == 3
    waiting = node.dispatch("sleep 600", "--to", "w")["id"]
    none = node.run("task", "result", waiting)
    assert none.returncode == 4 and f"maestro task wait {waiting} waits for its end" in none.stderr
    node.json("task", "cancel", waiting)


def test_one_task_and_several_are_waited_for_in_one_form(node: Node) -> None:
    one, two = (node.dispatch("true", "--to", "w")["id"] for _ in range(2))
    alone = node.run("task", "wait", one)
    assert json.loads(alone.stdout)["id"] == one
    both = node.run("task", "wait", one, two).stdout.splitlines()
    assert both[0] + "\n" == alone.stdout and json.loads(both[1])["id"] == two


def test_what_is_read_is_named_by_the_beginning_of_its_id(node: Node, maestro: CommandLine) -> None:
    node.json("agent", "assign", "shell", "--name", "reader", "--to-workspace", f"{node.folder}/reader")
    node.json("agent", "assign", "shell", "--name", "reads", "--to-workspace", f"{node.folder}/reads")
    one = node.dispatch("echo read", "--to", "reader", "--sync")["id"]
    two = node.dispatch("true", "--to", "reads", "--key", "kk", "--sync")["id"]
    snapshot = node.json("state", "snapshot")["id"]
    start = one[:-2]
    for words in (
        ("task", "status", start),
        ("task", "status", start.lower()),
        ("task", "result", start),
        ("task", "logs", start, "--agent", "reade"),
        ("task", "wait", start, two[:9]),
        ("queue", "status", "--task", start),
        ("queue", "status", "--completed", "--agent", "reade"),
        ("task", "list", "--agent", "reade"),
        ("task", "status", "--last", "reade"),
        ("audit", start),
        ("audit", f"task:{two[:9]}"),
        ("audit", "agent:reade"),
        ("agent", "health", "reade"),
        ("agent", "logs", "reade"),
        ("state", "verify", snapshot[:-1]),
        ("state", "restore", snapshot[:-1], "--dry-run"),
        ("state", "restore", snapshot, "--dry-run", "--workspace", "reade"),
    ):
        done = maestro.here(*words)
        assert done.code == 0 and done.out, (words, done)
    other = node.dispatch("true", "--to", "reader", "--sync")["id"]
    several = maestro.here("task", "status", one[:4])
    assert several.code == 2 and f"{other} (completed: true), {one} (completed: echo read)" in several.err
    assert "characters tell these apart" in several.err
    assert "reads, reader" in maestro.here("agent", "health", "read").err
    assert maestro.here("task", "status", "01X").code == 3


def test_what_is_ended_or_deleted_takes_a_whole_id_and_says_which(node: Node, maestro: CommandLine) -> None:
    node.json("agent", "assign", "shell", "--name", "ender", "--to-workspace", f"{node.folder}/ender")
    task = node.dispatch("sleep 600", "--to", "ender")["id"]
    snapshot = node.json("state", "snapshot", "--workspace", "ender")["id"]
    for words, name in (
        (("task", "cancel"), task),
        (("task", "retry"), task),
        (("agent", "stop"), "ender"),
        (("agent", "restart"), "ender"),
        (("agent", "reset"), "ender"),
        (("workspace", "clean"), "ender"),
        (("state", "pin"), snapshot),
        (("state", "unpin"), snapshot),
        (("state", "restore"), snapshot),
        (("state", "rollback"), snapshot),
        (("state", "restore", snapshot, "--workspace"), "ender"),
    ):
        done = maestro.here(*words, name[:-1])
        assert done.code == 3 and f"begins so: maestro {' '.join(words)} {name}" in done.err, (words, done)
    assert node.task(task)["status"] in ("queued", "running")
    assert "running: sleep 600" in maestro.here("task", "cancel", task[:-1]).err
    node.json("task", "cancel", task)


def test_a_batch_whose_daemon_was_killed_is_given_again_and_every_line_is_there_once(node: Node) -> None:
    before = len(node.events("task.dispatched"))
    node.json("agent", "assign", "shell", "--name", "busy", "--to-workspace", f"{node.folder}/busy")
    node.dispatch("sleep 600", "--to", "busy")
    path = batch(node, *({"prompt": f"true {number}", "to": "busy"} for number in range(1000)))
    words = [sys.executable, "-m", "maestro", "task", "dispatch", "--batch", path, "-q"]
    with subprocess.Popen(words, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        node.kill()
        process.communicate()
    done = node.run("task", "dispatch", "--batch", path, "-q")
    assert done.returncode == 0 and len(set(done.stdout.split())) == 1000, done.stderr
    assert "tasks had been dispatched before" in done.stderr
    assert len(node.events("task.dispatched")) == before + 1001
