"""Runs of agents that speak the Agent Client Protocol: outcomes, usage, sessions, permissions, through Maestro."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.real import THERE, Stage
from tests.agents.stub.server import Stub
from tests.installation import Installation

ROGUE = str(Path(__file__).with_name("rogue.py"))
TOLD: dict[str, Any] = {"bin": sys.executable, "argv": ["{bin}", "-S", ROGUE], "transport": "acp", "mode": "work"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("acp")) as place:
        told = TOLD
        place.agent_type("rogue", **told, stop={"grace_s": 1})
        place.agent_type("brief", **told, stop={"grace_s": 1}, acp={"answer_s": 1})
        place.agent_type("silent", **told, stop={"grace_s": 1}, limits={"silent_s": 2})
        place.agent_type("modeless", **{**told, "mode": "architect"})
        yield place


def work(place: Installation, prompt: str, agent: str = "rogue") -> tuple[int, dict[str, Any]]:
    done = place.run("task", "dispatch", prompt, "--to", agent, "--sync")
    return done.returncode, json.loads(done.stdout)


def asking(place: Installation, prompt: str, count: int = 1) -> dict[str, Any]:
    """A task whose agent asks for permission."""
    task = json.loads(place.run("task", "dispatch", prompt, "--to", "rogue", "--async").stdout)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told: dict[str, Any] = place.json("task", "status", task["id"])
        if told["runs"] and len(told["runs"][0]["permissions"]) == count:
            return told
        time.sleep(0.05)
    raise AssertionError(told)


def test_a_stop_reason_becomes_an_outcome_and_usage_and_session_are_recorded(place: Installation) -> None:
    code, task = work(place, "usage say:Hello")
    run = task["runs"][0]
    assert (code, run["outcome"], run["result"], run["session"]) == (0, "ok", "Hello", "s-1"), run
    assert task["usage"] == {"input_tokens": 30, "output_tokens": 4, "cached_tokens": 0, "cost": 0.5}
    for word, outcome in (("stop:refusal", "refused"), ("stop:max_tokens", "agent_error"), ("die", "exit")):
        assert work(place, word)[1]["runs"][0]["outcome"] == outcome, word


def test_a_retry_loads_the_session_and_a_mode_that_is_not_there_is_found_out(place: Installation) -> None:
    _, task = work(place, "say:Again die")
    place.json("task", "retry", task["id"], "--continue")
    place.run("task", "wait", task["id"])
    first, second = place.json("task", "status", task["id"])["runs"]
    assert (second["session"], second["outcome"], second["result"]) == ("s-1", "exit", "Again"), second
    assert '"mode": "loaded"' in Path(second["log"]).read_text()
    assert '"mode": "loaded"' not in Path(first["log"]).read_text()
    assert work(place, "say:never", "modeless")[1]["runs"][0]["outcome"] == "wrong_mode"


def test_an_agent_that_never_answers_runs_into_the_limit_of_silence(place: Installation) -> None:
    code, task = work(place, "say:Half never", "silent")
    assert (code != 0, task["runs"][0]["outcome"]) == (True, "stalled")


def test_a_request_waits_for_its_answer_which_is_given_once(place: Installation) -> None:
    task = asking(place, "ask:execute")
    (asked,) = task["runs"][0]["permissions"]
    assert (asked["title"], asked["tool"], asked["answer"]) == ("rm -rf build", "execute", None)
    explained = place.json("task", "explain", task["id"])["reasons"][0]
    assert (explained["reason"], explained["waits"]) == ("permission", True)
    assert explained["to_go_on"].startswith(f"maestro task answer {task['id']} allow")
    done = place.run("task", "answer", task["id"], "perhaps")
    assert done.returncode == 2
    assert "answer with one of allow, reject, y, n" in done.stderr
    place.json("task", "answer", task["id"], "allow", "--reason", "it is only the build")
    assert place.run("task", "wait", task["id"]).returncode == 0
    ended = place.json("task", "status", task["id"])["runs"][0]
    assert (ended["result"], ended["permissions"]) == ("y", [])
    assert place.run("task", "answer", task["id"], "reject").returncode == 4
    trail = place.json("audit", f"task:{task['id']}")
    told = [event for event in trail if event["type"].startswith("task.permission")]
    assert [event["data"].get("reason") for event in told] == [None, "it is only the build"] or told
    assert [event["type"] for event in told] == ["task.permission_asked", "task.permission_answered"]
    assert told[0]["actor"].startswith("run:")


def test_a_step_whose_agent_asks_says_so_and_how_to_answer(place: Installation) -> None:
    (place.folder / "flow.yaml").write_text("steps: [{id: clean, agent: rogue, prompt: 'ask:execute'}]\n")
    place.json("agent", "assign", "rogue")
    place.json("workflow", "create", "flow", "--definition", str(place.folder / "flow.yaml"))
    run = json.loads(place.run("workflow", "run", "flow", "--async").stdout)["id"]
    deadline = time.monotonic() + 60
    while not (listed := place.json("workflow", "runs", "--waiting")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert listed[0]["waiting_for"] == ["permission: clean"]
    (step,) = place.json("workflow", "status", run)["steps"]
    assert (step["status"], step["waiting_for"]) == ("running", "permission")
    assert step["reason"].endswith("asks for permission 4: 'rm -rf build'"), step
    table = place.run("workflow", "status", run, "--format", "table")
    assert "asks for permission 4" in table.stdout
    assert f"to answer the agent of clean: maestro task answer {step['task']} allow (or reject)" in table.stderr
    held = place.json("task", "explain", run)["reasons"][0]
    assert (held["reason"], held["waits"]) == ("permission", True)
    place.json("task", "answer", step["task"], "allow")
    assert place.run("workflow", "wait", run).returncode == 0
    assert place.json("workflow", "runs", "--waiting") == []


def test_what_the_policy_decides_is_in_the_audit(place: Installation) -> None:
    place.agent_type("ruled", **TOLD, acp={"permissions": "reject", "allow": ["read"]})
    _, task = work(place, "ask:read ask:edit", "ruled")
    trail = place.json("audit", f"task:{task['id']}", "--type", "task")
    told = [event["data"] for event in trail if event["type"] == "task.permission_answered"]
    assert [(each["answer"], each["option"], each["reason"]) for each in told] == [
        ("allow", "y", "the type's acp.allow names read"),
        ("reject", "n", "the type's acp.permissions is reject"),
    ]
    asked = [event["data"]["tool"] for event in trail if event["type"] == "task.permission_asked"]
    assert asked == ["read", "edit"]
    assert "not recorded" not in place.run("task", "logs", task["id"]).stdout


def test_a_request_that_nobody_answers_is_rejected_in_time(place: Installation) -> None:
    code, task = work(place, "ask:edit", "brief")
    run = task["runs"][0]
    assert (code, run["result"], run["outcome"]) == (1, "n", "refused"), task
    assert '"rejected": true' in run["evidence"]


def test_a_task_that_is_cancelled_while_it_asks_ends(place: Installation) -> None:
    task = asking(place, "ask:edit")
    ended = place.json("task", "cancel", task["id"])
    assert (ended["status"], ended["runs"][0]["permissions"]) == ("cancelled", [])


@pytest.mark.parametrize("agent", sorted({"qwen"} & set(THERE)))
def test_a_real_agent_works_asks_and_goes_on_with_its_session(place: Installation, agent: str) -> None:
    with Stub() as stub:
        stage = Stage(place, stub)
        stage.variant(agent, "asker", transport="acp", mode="default", acp={"permissions": "ask"})
        prompt = "[[write hello.txt Hello there]] [[say All written.]]"
        task = json.loads(place.run("task", "dispatch", prompt, "--to", "asker", "--async").stdout)
        deadline = time.monotonic() + 90
        while not (runs := place.json("task", "status", task["id"])["runs"]) or not runs[0]["permissions"]:
            assert time.monotonic() < deadline, runs
            time.sleep(0.2)
        place.json("task", "answer", task["id"], "allow")
        assert place.run("task", "wait", task["id"], timeout=90).returncode == 0
        run = place.json("task", "status", task["id"])["runs"][0]
        assert (run["outcome"], run["result"]) == ("ok", "All written."), run
        assert Path(run["workspace"], "hello.txt").read_text().strip() == "Hello there"
        assert run["session"] and run["usage"]["input_tokens"] > 0
