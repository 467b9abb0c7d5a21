"""Every refusal that names a way out leads out: each command that a remedy names is walked here, its refusal first.

A remedy that names a command which is not in WALKED or SHOWS fails the last test: walk it, then enter it.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import sources
from tests.installation import Installation

SHOWS = {
    "agent list": "",
    "events schema": "",
    "node list": "",
    "state list": "",
    "state snapshots": "",
    "task list": "",
    "workspace list": "",
    "maestro audit": "",
}
"""Commands that only show something: that they can be run is all that their remedies promise."""
WALKED = {
    "agent assign": "test_an_unknown_agent_is_assigned_and_takes_work",
    "agent restart": "test_a_stopped_agent_is_restarted_and_takes_work",
    "agent stop": "test_an_agent_at_work_is_stopped_and_moved",
    "agent register": "tests/agents/test_registration.py",
    "task cancel": "test_a_task_that_is_on_is_cancelled_and_retried",
    "task dispatch": "test_an_agent_without_a_run_gets_one_and_has_a_log",
    "task wait": "tests/runtime/test_lost_nodes.py",
    "task retry": "test_a_task_that_is_on_is_cancelled_and_retried",
    "state snapshot": "test_where_no_snapshot_is_one_is_taken_and_restored",
    "state restore": "tests/runtime/test_vanished_workspaces.py",
    "maestro up": "test_a_node_that_is_down_is_started_and_works",
    "maestro shutdown": "test_what_is_up_is_shut_down_and_flushed",
    "redis flush": "test_what_is_up_is_shut_down_and_flushed",
    "maestro doctor": "tests/runtime/test_losses.py",
    "doctor --accept-loss": "tests/runtime/test_losses.py",
}
ERRORS = {
    *("Refused", "Invalid", "NotFound", "Conflict", "StoreAway", "StoreUnsafe", "VerificationFailed", "Unknown"),
    *("TimedOut", "LineageBroken", "ViewDamaged", "Denied", "MaestroError"),
}
GROUPS = "agent|task|state|queue|replay|events|workspace|node|config|redis"
COMMAND = re.compile(rf"(?:^|[`:;,(] ?|\bmaestro |\bafter |\bstart it: )((?:{GROUPS}) [a-z]+|doctor --[a-z-]+)\b")
TOP = re.compile(r"\bmaestro (up|shutdown|doctor|audit)\b")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as installation:
        installation.agent_type("worker", adapter="shell")
        yield installation


def refused(here: Installation, code: int, way_out: str, *words: str, **env: str) -> None:
    """The command is refused with this exit code, in a line that names this way out."""
    done = here.run(*words, **env)
    said = [line for line in done.stderr.splitlines() if not line.startswith("maestro: started the daemon")]
    assert (done.returncode, len(said), way_out in said[0]) == (code, 1, True), (words, done.returncode, done.stderr)


def assign(here: Installation, name: str = "worker") -> str:
    workspace = str(here.folder / f"ws-{name}")
    here.json("agent", "assign", "worker", "--name", name, "--to-workspace", workspace)
    return workspace


def running(here: Installation, to: str) -> str:
    """The id of a task that is on."""
    task = str(here.json("task", "dispatch", "sleep 600", "--to", to)["id"])
    until = time.monotonic() + 60
    while here.json("task", "status", task)["status"] != "running" and time.monotonic() < until:
        time.sleep(0.1)
    return task


def test_an_unknown_agent_is_assigned_and_takes_work(here: Installation) -> None:
    refused(here, 3, "agent assign makes one", "agent", "stop", "nobody")
    assign(here, "nobody")
    assert here.run("task", "dispatch", "true", "--to", "nobody", "--sync").returncode == 0


def test_a_stopped_agent_is_restarted_and_takes_work(here: Installation) -> None:
    assign(here)
    here.json("agent", "stop", "worker")
    refused(here, 4, "agent restart worker", "task", "dispatch", "true", "--to", "worker")
    here.json("agent", "restart", "worker")
    assert here.run("task", "dispatch", "true", "--to", "worker", "--sync").returncode == 0


def test_an_agent_at_work_is_stopped_and_moved(here: Installation) -> None:
    assign(here)
    running(here, "worker")
    elsewhere = ("agent", "assign", "worker", "--to-workspace", str(here.folder / "elsewhere"))
    refused(here, 4, "or --force stops it", *elsewhere)
    here.json("agent", "stop", "worker")
    assert here.json(*elsewhere)["workspace"] == str(here.folder / "elsewhere")


def test_a_task_that_is_on_is_cancelled_and_retried(here: Installation) -> None:
    assign(here)
    task = running(here, "worker")
    refused(here, 4, f"task cancel {task}", "task", "retry", task)
    here.json("task", "cancel", task)
    assert here.json("task", "retry", task)["status"] in ("queued", "running")
    here.json("task", "cancel", task)


def test_an_agent_without_a_run_gets_one_and_has_a_log(here: Installation) -> None:
    assign(here)
    refused(here, 3, "task dispatch <prompt> --to worker", "agent", "logs", "worker")
    here.run("task", "dispatch", "echo said", "--to", "worker", "--sync")
    assert here.run("agent", "logs", "worker").stdout == "said\n"


def test_where_no_snapshot_is_one_is_taken_and_restored(here: Installation) -> None:
    file = Path(assign(here), "kept")
    file.write_text("kept")
    refused(here, 3, "state snapshot takes one", "state", "restore", "latest")
    here.json("state", "snapshot")
    file.unlink()
    here.json("state", "restore", "latest")
    assert file.read_text() == "kept"


def test_a_node_that_is_down_is_started_and_works(here: Installation) -> None:
    words = ("task", "dispatch", "true", "--to", "worker")
    refused(here, 4, "maestro up", *words, MAESTRO_AUTOSTART="false")
    here.json("up")
    assert here.run(*words, "--sync", MAESTRO_AUTOSTART="false").returncode == 0


def test_what_is_up_is_shut_down_and_flushed(here: Installation) -> None:
    assign(here)
    here.json("up")
    namespace = here.env["MAESTRO_NAMESPACE"]
    words = ("redis", "flush", "--confirm", namespace, "--no-backup")
    refused(here, 4, "maestro shutdown", *words)
    here.json("shutdown", "--grace-period", "1")
    assert here.run(*words).returncode == 0
    assert here.json("agent", "list") == []


def named() -> dict[str, list[str]]:
    """The commands that remedies in the source name, with the places that name them."""
    found: dict[str, list[str]] = {}
    for path in sources.modules(*sources.PACKAGES):
        for node in ast.walk(sources.tree(path)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in ERRORS:
                continue
            remedies = [keyword.value for keyword in node.keywords if keyword.arg == "mend"] or node.args[2:3]
            for remedy in remedies:
                said = ast.unparse(remedy).lstrip("f").strip("'\"")
                commands = COMMAND.findall(said) + [f"maestro {top}" for top in TOP.findall(said)]
                for command in commands:
                    found.setdefault(command, []).append(f"{path}:{node.lineno}")
    return found


def test_each_command_that_a_remedy_names_is_there_and_walked(here: Installation) -> None:
    commands = named()
    assert len(commands) > 10
    unknown = {command: places for command, places in commands.items() if command not in {**SHOWS, **WALKED}}
    assert not unknown
    for command in commands:
        words = [word for word in command.removeprefix("maestro ").split() if not word.startswith("--")]
        shown = here.run(*words, "--help")
        assert shown.returncode == 0, command
        assert all(word in shown.stdout for word in command.split() if word.startswith("--")), command
    for test in WALKED.values():
        assert (sources.ROOT / test).is_file() if "/" in test else test in globals()


def test_a_stray_entry_in_the_log_is_left_by_the_command_that_the_refusal_names(here: Installation) -> None:
    assign(here)
    here.json("up")
    line = next(row for row in json.loads(here.run("doctor", "--format", "json").stdout) if "redis-cli" in str(row))
    client = re.search(r"-s (\S+)", str(line))
    assert client is not None
    import redis

    with redis.Redis(unix_socket_path=client[1].rstrip("'\"`,;)")) as store:
        log = next(key for key in store.keys(f"maestro:{{{here.env['MAESTRO_NAMESPACE']}}}:log"))
        store.xadd(log, {"stray": "1"})
    done = here.run("task", "dispatch", "true", "--to", "worker")
    assert (done.returncode, "doctor --accept-loss" in done.stderr) == (5, True), done.stderr
    accepted: subprocess.CompletedProcess[str] = here.run("doctor", "--accept-loss")
    assert accepted.returncode in (0, 4), accepted.stderr
    assert here.run("task", "dispatch", "true", "--to", "worker", "--sync").returncode == 0
    assert here.json("replay", "verify")["ok"] is True
