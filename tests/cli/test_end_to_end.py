"""The command line against the real server: in its own process, and through the daemon that it starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.installation import Installation

MAESTRO = f"{sys.executable} -m maestro"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a shell agent, its daemon not yet started."""
    with Installation(tmp_path_factory.mktemp("cli")) as installation:
        installation.agent_type("worker", adapter="shell")
        yield installation


def test_commands_that_need_no_node_start_none(here: Installation) -> None:
    assert here.json("state", "set", "port", "8080")["value"] == "8080"
    assert [row["key"] for row in here.json("state", "list", "po")] == ["port"]
    assert here.run("state", "get", "port", "--raw").stdout == "8080\n"
    assert here.run("state", "delete", "port").returncode == 0
    assert here.run("state", "get", "port").returncode == 3
    assert here.json("agent", "list") == []
    assert here.json("replay", "verify")["ok"] is True
    assert here.json("node", "list") == []


def test_a_command_that_needs_the_node_starts_it_and_says_so(here: Installation) -> None:
    done = here.run("task", "dispatch", "echo one", "--to", "worker", "--sync")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("maestro: started the daemon of this node (pid ")
    assert json.loads(done.stdout)["status"] == "completed"
    again = here.run("task", "dispatch", "echo two; exit 7", "--to", "worker", "--sync")
    assert (again.returncode, again.stderr) == (7, "")
    assert here.run("task", "logs", json.loads(again.stdout)["id"]).stdout == "two\n"


def test_ids_go_from_one_command_to_the_next(here: Installation) -> None:
    first = here.run("task", "dispatch", "true", "--to", "worker", "-q").stdout.strip()
    second = here.json("task", "dispatch", "true", "--to", "worker", "--depends-on", first)["id"]
    assert here.run("task", "wait", first, second).returncode == 0
    assert here.json("task", "list", "--last")["id"] == second
    assert here.json("task", "status", "--last", "worker")["status"] == "completed"
    listed = here.run("task", "list", "--limit", "2").stdout
    assert len([line for line in listed.splitlines() if '"id"' in line]) == 2


def test_ctrl_c_offers_the_id_and_leaves_the_task_running(here: Installation, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo began > {tmp_path}/began; until test -e {go}; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-m", "maestro", "task", "dispatch", script, "--to", "worker", "--sync"],
        env=here.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    task = here.json("task", "list", "--last")
    assert (process.returncode, out) == (130, "")
    assert task["id"] in err and err.count("\n") == 1
    assert task["status"] == "running"
    go.touch()
    assert here.run("task", "wait", task["id"]).returncode == 0


def test_cancel_on_interrupt_cancels(here: Installation, tmp_path: Path) -> None:
    words = ["task", "dispatch", f"touch {tmp_path}/began; sleep 600", "--to", "worker", "--sync"]
    with subprocess.Popen(
        [sys.executable, "-m", "maestro", *words, "--cancel-on-interrupt"],
        env=here.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert here.json("task", "list", "--last")["status"] == "cancelled"


def test_an_agent_may_use_state_and_nothing_else(here: Installation) -> None:
    script = f"{MAESTRO} state set from-inside yes || exit 1; {MAESTRO} agent list; test $? = 4"
    done = here.run("task", "dispatch", script, "--to", "worker", "--sync")
    assert done.returncode == 0, done.stdout
    assert here.json("state", "get", "from-inside")["value"] == "yes"


def test_a_prompt_of_ten_megabytes_and_one_that_looks_like_an_option(here: Installation) -> None:
    big = "wc -c < $0\n#" + "x" * 10_000_000
    task = here.json("task", "dispatch", "-", "--to", "worker", "--sync", stdin=big)
    assert here.run("task", "logs", task["id"]).stdout.strip() == str(len(big))
    odd = here.run("task", "dispatch", "- [ ] x", "--to", "worker", "--sync")
    assert odd.returncode == 127
    assert json.loads(odd.stdout)["title"] == "- [ ] x"


def test_unknown_things_are_told_in_one_line(here: Installation, maestro: CommandLine) -> None:
    unknown = {
        ("agent", "health", "nobody"): 3,
        ("agent", "restart", "nobody"): 3,
        ("agent", "stop", "nobody"): 3,
        ("agent", "reset", "nobody"): 3,
        ("agent", "logs", "nobody"): 3,
        ("agent", "register", "nobody"): 3,
        ("agent", "assign", "nobody"): 3,
        ("task", "dispatch", "x", "--to", "nobody"): 3,
        ("task", "dispatch", "x", "--to", "worker", "--depends-on", "nothing"): 3,
        ("task", "status", "nothing"): 3,
        ("task", "wait", "nothing"): 3,
        ("task", "logs", "nothing"): 3,
        ("task", "cancel", "nothing"): 3,
        ("task", "retry", "nothing"): 3,
        ("state", "get", "nothing"): 3,
        ("state", "delete", "nothing"): 3,
        ("workspace", "clean", "nobody"): 3,
        ("replay", "rebuild", "nothing"): 2,
        ("replay", "at", "1", "nothing"): 2,
        ("agent", "stop", "a\nb"): 3,
        ("state", "set", "a\nb", "x"): 2,
        ("state", "set", "a", "x", "--ttl", "soon"): 2,
        ("task", "list", "--since", "someday"): 2,
        ("task", "list", "--since", "9" * 5000): 2,
        ("audit", "--type", "no.such"): 2,
        ("replay", "at", "yesterday-ish", "tasks"): 2,
        ("replay", "at", "10d", "tasks"): 2,
        ("replay", "diff", "1", "999999"): 2,
        ("events", "export", "--from", "9", "--to", "2"): 2,
    }
    maestro.env = here.env
    wrong = {}
    for args, code in unknown.items():
        done = maestro.here(*args)
        if (done.code, done.out, done.err.count("\n")) != (code, "", 1):
            wrong[args] = done
    assert not wrong


def test_an_unknown_name_is_told_with_one_that_is_like_it(here: Installation, maestro: CommandLine) -> None:
    maestro.env = here.env
    task = here.json("task", "list", "--last")["id"]
    mistyped = task[:-1] + ("0" if task[-1] != "0" else "1")
    here.json("state", "set", "api_port", "1")
    node = here.json("node", "list")[0]["id"]
    like = {
        ("agent", "health", "wroker"): "worker",
        ("agent", "stop", "Worker"): "worker",
        ("agent", "assign", "wroker"): "worker",
        ("agent", "assign", "worker", "--node", f"{node}x"): node,
        ("task", "dispatch", "x", "--to", "wroker"): "worker",
        ("task", "dispatch", "x", "--to", "type:wroker"): "worker",
        ("task", "dispatch", "x", "--to", "role:worker"): "type:worker",
        ("task", "dispatch", "x", "--to", "worker", "--depends-on", mistyped): task,
        ("task", "status", mistyped): task,
        ("task", "wait", mistyped): task,
        ("task", "logs", f"{task}9"): task,
        ("task", "cancel", mistyped): task,
        ("task", "retry", mistyped): task,
        ("queue", "status", "--agent", "wroker"): "worker",
        ("state", "get", "apiport"): "api_port",
        ("state", "delete", "API_PORT"): "api_port",
        ("state", "restore", "lates"): "latest",
        ("state", "snapshot", "--workspace", "wroker"): "worker",
        ("workspace", "clean", "wroker"): "worker",
        ("audit", "wroker"): "worker",
        ("audit", "agent:wroker"): "agent:worker",
        ("audit", "--type", "run.endd"): "run.ended",
    }
    wrong = {}
    for args, meant in like.items():
        done = maestro.here(*args)
        if done.code not in (2, 3) or "did you mean" not in done.err or meant not in done.err.partition("mean")[2]:
            wrong[args] = done
    assert not wrong
    assert "did you mean" not in maestro.here("agent", "stop", "zzz").err


def test_every_list_command_prints_a_json_list(here: Installation, maestro: CommandLine) -> None:
    maestro.env = here.env
    for args in (
        ["agent", "list"],
        ["agent", "types"],
        ["task", "list"],
        ["state", "list"],
        ["queue", "status"],
        ["queue", "status", "--completed"],
        ["audit"],
        ["events", "tail"],
        ["replay", "at", "5", "state"],
        ["replay", "diff", "1", "5"],
        ["workspace", "list"],
        ["node", "list"],
        ["doctor"],
        ["config", "show"],
    ):
        assert isinstance(json.loads(maestro.here(*args).out), list), args


def test_every_command_draws_its_table(here: Installation, maestro: CommandLine) -> None:
    maestro.env = here.env
    here.json("agent", "assign", "worker", "--to-workspace", str(here.folder / "ws"))
    task = here.json("task", "list", "--last")["id"]
    for args in (
        ["agent", "list"],
        ["agent", "types"],
        ["agent", "health", "worker"],
        ["task", "list"],
        ["task", "status", task],
        ["state", "list"],
        ["queue", "status", "--completed"],
        ["audit", task],
        ["events", "tail"],
        ["replay", "at", "5", "nodes"],
        ["replay", "diff", "1", "5"],
        ["replay", "verify"],
        ["workspace", "list"],
        ["node", "list"],
        ["doctor"],
        ["config", "show"],
    ):
        done = maestro.here(*args, "--format", "table")
        assert done.code in (0, 1), (args, done)
        assert done.out.strip() and '{"' not in done.out.splitlines()[0], args


def test_ids_are_completed_where_the_daemon_runs(here: Installation) -> None:
    words = {"COMP_WORDS": "maestro agent health wo", "COMP_CWORD": "3", "_MAESTRO_COMPLETE": "complete_bash"}
    assert here.run(**words).stdout.split() == ["worker"]
    assert here.run(**words, MAESTRO_HOME=str(here.folder / "elsewhere")).stdout.strip() == ""
    assert not (here.folder / "elsewhere").exists()


def test_a_flush_deletes_this_namespace_after_its_export(here: Installation, tmp_path: Path) -> None:
    backup = tmp_path / "log.jsonl"
    name = here.env["MAESTRO_NAMESPACE"]
    assert here.run("redis", "flush", "--confirm", "default").returncode == 4
    events = len(here.run("events", "export").stdout.splitlines())
    here.json("shutdown", "--grace-period", "1")
    done = here.json("redis", "flush", "--confirm", name, "--backup", str(backup))
    assert done["namespace"] == name
    assert len(backup.read_text().splitlines()) >= events > 0
    assert here.json("task", "list") == []
