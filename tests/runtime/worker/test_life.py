"""A node's life as its users see it: real daemon, real store, real processes, driven by the command line."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("life")) as place:
        place.agent_type("reviewer", capabilities=["review"])
        place.agent_type("stubborn", mode="script", adapter="shell", stop={"grace_s": 0.5})
        yield place


def dispatch(place: Installation, prompt: str, *words: str, code: int = 0) -> dict[str, object]:
    done = place.run("task", "dispatch", prompt, *words)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    row: dict[str, object] = json.loads(done.stdout)
    return row


def until(true: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_a_type_registers_itself_on_first_use_and_works_in_its_run_folder(place: Installation) -> None:
    row = dispatch(place, "pwd; echo to-stderr >&2", "--to", "shell", "--sync")
    folder = place.root / "shell" / str(row["id"])
    assert row["runs"][0]["result"] == str(folder / "workspace")
    assert "to-stderr" in (folder / "agent.log").read_text()
    assert (folder / "prompt.txt").read_text() == "pwd; echo to-stderr >&2"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_exit_codes_of_agents_come_through(place: Installation) -> None:
    row = dispatch(place, "exit 7", "--to", "shell", "--sync", code=7)
    assert (row["status"], row["exit_code"], row["source"]) == ("failed", 7, "agent")


def test_a_failed_dependency_skips_with_its_cause(place: Installation) -> None:
    bad = dispatch(place, "exit 1", "--to", "shell", "--async")
    after = dispatch(place, "echo never", "--to", "shell", "--depends-on", str(bad["id"]), "--sync", code=1)
    assert after["status"] == "skipped"
    assert str(bad["id"]) in str(after["reason"])
    assert after["runs"] == []


def test_a_timeout_is_maestros_own_clock(place: Installation) -> None:
    row = dispatch(place, "trap '' TERM; sleep 60", "--to", "stubborn", "--timeout", "0.5", "--sync", code=124)
    assert row["status"] == "timed_out"
    assert row["runs"][0]["outcome"] == "timeout"


def test_cancelling_ends_the_whole_tree_and_keeps_the_reason(place: Installation) -> None:
    mark = f"cancel-{os.urandom(4).hex()}"
    row = dispatch(place, f"export MARK={mark}; setsid sleep 300 & sleep 301", "--to", "shell", "--async")
    until(lambda: place.json("task", "status", str(row["id"]))["status"] == "running")
    until(lambda: marked(mark))
    ended = place.json("task", "cancel", str(row["id"]), "--reason", "not needed any more")
    assert (ended["status"], ended["runs"][0]["outcome"]) == ("cancelled", "cancelled")
    assert not marked(mark)
    story = place.json("audit", str(row["id"]))
    assert any("not needed any more" in json.dumps(line) for line in story)


def marked(mark: str) -> list[int]:
    needle = f"MARK={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if needle in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def test_retries_run_again_and_retry_queues_a_finished_task(place: Installation) -> None:
    flag = place.folder / "flag"
    prompt = f"test -e {flag} || {{ touch {flag}; exit 3; }}"
    row = dispatch(place, prompt, "--to", "shell", "--retries", "1", "--sync")
    assert [run["exit_code"] for run in row["runs"]] == [3, 0]
    flag.unlink()
    again = place.json("task", "retry", str(row["id"]))
    assert again["status"] in ("queued", "running")  # it may have begun by the time of the answer
    assert place.run("task", "wait", str(row["id"])).returncode == 0
    assert len(place.json("task", "status", str(row["id"]))["runs"]) == 4


def test_the_same_key_is_the_same_task(place: Installation) -> None:
    first = dispatch(place, "echo once", "--to", "shell", "--key", "release-7", "--sync")
    second = dispatch(place, "echo twice", "--to", "shell", "--key", "release-7", "--sync")
    assert first["id"] == second["id"]
    assert len(second["runs"]) == 1


def test_a_pool_takes_the_least_loaded_agent_and_the_urgent_goes_first(place: Installation) -> None:
    place.json("agent", "assign", "reviewer", "--name", "r1", "--to-workspace", str(place.folder / "r1"))
    place.json("agent", "assign", "reviewer", "--name", "r2", "--to-workspace", str(place.folder / "r2"))
    busy = dispatch(place, "run: sleep 600", "--to", "r1", "--async")
    until(lambda: place.json("task", "status", str(busy["id"]))["status"] == "running")
    pooled = dispatch(place, "run: true", "--to", "capability:review", "--sync")
    assert pooled["agents"] == ["r2"]
    late = dispatch(place, "run: true", "--to", "r1", "--priority", "5", "--async")
    soon = dispatch(place, "run: true", "--to", "r1", "--priority", "1", "--async")
    waiting = place.json("queue", "status", "--waiting")
    assert [entry["task"] for entry in waiting] == [soon["id"], late["id"]]
    assert str(busy["id"]) in waiting[0]["waiting_for"]
    place.json("task", "cancel", str(busy["id"]))
    assert place.run("task", "wait", str(late["id"]), str(soon["id"])).returncode == 0
    rows = {row["id"]: row for row in place.json("task", "list")}
    assert rows[soon["id"]]["started_at"] < rows[late["id"]]["started_at"]


def test_to_several_agents_the_worst_outcome_is_the_tasks(place: Installation) -> None:
    prompt = 'run: case "$MAESTRO_AGENT_ID" in r1) exit 4;; esac; echo fine'
    row = dispatch(place, prompt, "--to", "r1,r2", "--sync", code=4)
    assert row["status"] == "failed"
    assert {run["agent"]: run["exit_code"] for run in row["runs"]} == {"r1": 4, "r2": 0}
    good = dispatch(place, "run: echo both", "--to", "r1,r2", "--sync")
    value = place.json("state", "get", f"task:{good['id']}:result")["value"]
    assert json.loads(value) == {"r1": "mode code\nboth", "r2": "mode code\nboth"}


def test_where_one_of_two_agents_timed_out_command_and_json_give_the_same_exit_code(place: Installation) -> None:
    prompt = 'run: case "$MAESTRO_AGENT_ID" in r1) exec sleep 60;; esac; echo fine'
    row = dispatch(place, prompt, "--to", "r1,r2", "--sync", "--timeout", "1", code=124)
    assert (row["status"], row["exit_code"], row["source"]) == ("timed_out", 124, "maestro")
    assert {run["agent"]: run["exit_code"] for run in row["runs"]} == {"r1": None, "r2": 0}
    assert place.run("task", "wait", str(row["id"])).returncode == 124


def test_the_end_of_a_run_names_a_time_for_the_next_only_where_there_may_be_one(place: Installation) -> None:
    row = dispatch(place, "exit 3", "--to", "shell", "--retries", "1", "--sync", code=3)
    ends = [
        (event["data"]["outcome"], "retry_at" in event["data"])
        for event in place.json("audit", f"task:{row['id']}")
        if event["type"] == "run.ended"
    ]
    assert ends == [("exit", True), ("exit", False)]


def test_an_agent_may_use_state_and_nothing_else(place: Installation) -> None:
    prompt = "maestro state set from-run 'a value' && maestro task list; echo code $?"
    row = dispatch(place, prompt, "--to", "shell", "--sync")
    assert "code 4" in row["runs"][0]["result"]
    key = place.json("state", "get", "from-run")
    assert (key["value"], key["actor"]) == ("a value", f"run:{row['runs'][0]['id']}")


def test_a_stopped_agent_takes_no_work_until_it_is_restarted(place: Installation) -> None:
    assert place.json("agent", "stop", "r1")["state"] == "stopped"
    refused = place.run("task", "dispatch", "run: true", "--to", "r1")
    assert refused.returncode == 4
    assert "agent restart r1" in refused.stderr
    assert place.json("agent", "restart", "r1")["state"] == "idle"
    dispatch(place, "run: true", "--to", "r1", "--sync")


def test_reset_and_clean_empty_the_workspace(place: Installation) -> None:
    workspace = place.folder / "r2"
    (workspace / "junk").write_text("x")
    place.json("agent", "reset", "r2")
    assert list(workspace.iterdir()) == []
    (workspace / "junk").write_text("x")
    assert place.json("workspace", "clean", "r2")["files_removed"] == 1
    assert list(workspace.iterdir()) == []
    place.json("agent", "restart", "r2")


def test_the_worker_killed_loses_its_run_and_runs_it_again(place: Installation) -> None:
    mark = f"killed-{os.urandom(4).hex()}"
    flag = place.folder / "second"
    prompt = f"test -e {flag} && exit 0; touch {flag}; export MARK={mark}; setsid sleep 300 & sleep 301"
    row = dispatch(place, prompt, "--to", "shell", "--async")
    until(lambda: marked(mark))
    (node,) = place.json("node", "list")
    os.kill(node["pid"], signal.SIGKILL)
    until(lambda: not marked(mark))
    assert place.run("task", "wait", str(row["id"])).returncode == 0
    runs = place.json("task", "status", str(row["id"]))["runs"]
    assert [run["outcome"] for run in runs] == ["lost", "ok"]


def test_the_store_killed_loses_nothing(place: Installation) -> None:
    row = dispatch(place, "sleep 1; echo survived", "--to", "shell", "--async")
    until(lambda: place.json("task", "status", str(row["id"]))["status"] == "running")
    for pid in store_pids(place.home):
        os.kill(pid, signal.SIGKILL)
    assert place.run("task", "wait", str(row["id"])).returncode == 0
    assert place.json("task", "status", str(row["id"]))["runs"][0]["result"] == "survived"


def store_pids(home: Path) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"{home}/store/store.sock".encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def test_shutdown_cancels_what_runs_and_holds_what_waits(place: Installation) -> None:
    place.json("agent", "assign", "reviewer", "--name", "r3", "--to-workspace", str(place.folder / "r3"))
    running = dispatch(place, "run: sleep 300", "--to", "r3", "--async")
    queued = dispatch(place, "run: echo later", "--to", "r3", "--async")
    until(lambda: place.json("task", "status", str(running["id"]))["status"] == "running")
    answer = place.json("shutdown", "--grace-period", "1")
    assert answer["cancelled"] == [running["id"]]
    assert store_pids(place.home) == []
    rows = {row["id"]: row for row in place.json("task", "list")}
    assert (rows[running["id"]]["status"], rows[running["id"]]["reason"]) == ("cancelled", "shutdown")
    assert rows[queued["id"]]["status"] == "queued"
    assert place.json("up")["held"] is False
    assert place.run("task", "wait", str(queued["id"])).returncode == 0


def test_replay_proves_it_all(place: Installation) -> None:
    assert place.json("replay", "verify")["ok"] is True
    before = place.json("task", "list")
    place.json("replay", "rebuild")
    assert place.json("task", "list") == before
    assert place.json("replay", "verify")["ok"] is True
    schema = place.json("events", "schema")
    assert "task.dispatched" in json.dumps(schema)
    lines = place.run("events", "export").stdout.splitlines()
    assert len(lines) >= place.json("replay", "verify")["events"] - 2
