"""`task explain` by real commands: what it says is so, what it names lets the task go on, and a status ends with it."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until
from tests.runtime.workflow_place import WorkflowPlace

GATED = "concurrency: {group: g}\nsteps:\n  - {id: ask, approval: {prompt: 'Ship it?'}}\n"


@pytest.fixture
def here(place: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> WorkflowPlace:
    return WorkflowPlace(place, CommandLine(place.env, capfdbinary, monkeypatch))


def told(here: WorkflowPlace, *words: str) -> Any:
    return json.loads(here.follow(f"maestro {' '.join(words)}").out)


def reasons(here: WorkflowPlace, name: str) -> list[tuple[str, str | None]]:
    return [(one["reason"], one["to_go_on"]) for one in told(here, "task", "explain", name)["reasons"]]


def dispatched(here: WorkflowPlace, prompt: str, *words: str) -> str:
    return str(told(here, "task", "dispatch", f"'{prompt}'", *words)["id"])


def test_what_a_task_waits_for_is_said_alike_everywhere_and_goes_with_what_is_named(here: WorkflowPlace) -> None:
    go = here.node.folder / os.urandom(4).hex()
    busy = dispatched(here, f"run:until test -e {go}; do sleep 0.05; done", "--to", "w1")
    until(lambda: reasons(here, busy) == [("running", None)])
    first = dispatched(here, "true", "--to", "w1")
    last = dispatched(here, "true", "--to", "w2", "--depends-on", first)
    here.follow("maestro agent stop w3")
    both = dispatched(here, "true", "--to", "w1,w3", "--force")

    ((reason, way),) = reasons(here, first)
    assert (reason, way) == ("agent_busy", f"that task has to end: maestro task explain {busy}")
    chain = told(here, "task", "explain", last[:-1])
    assert [one["reason"] for one in chain["reasons"]] == ["dependency"]
    assert (chain["because"]["id"], chain["because"]["reasons"][0]["reason"]) == (first, "agent_busy")
    assert reasons(here, both)[1] == ("agent_stopped", "maestro agent restart w3")

    queued = {row["task"]: row for row in told(here, "queue", "status", "--waiting")}
    listed = {row["id"]: row for row in told(here, "task", "list", "--limit", "9")}
    for task in (first, last, both):
        (one, *_) = told(here, "task", "explain", task)["reasons"]
        for row in (told(here, "task", "status", task), listed[task]):
            assert (row["waiting_for"], row["to_go_on"]) == (one["what"], one["to_go_on"])
            assert row["waiting_since"] == one["since"] and one["since"]
        if task != both:
            assert (queued[task]["waiting_for"], queued[task]["to_go_on"]) == (one["what"], one["to_go_on"])
    ends = here.follow(f"maestro task status {first} --format table").out.rstrip().splitlines()[-1]
    assert re.fullmatch(rf"waits: agent w1 is busy with task {busy}, since \S+Z; to go on: .+explain {busy}", ends)
    assert "because" not in here.follow(f"maestro task explain {last} --format table").out

    go.touch()
    here.follow("maestro agent restart w3")
    for task in (last, both):
        assert here.follow(f"maestro task wait {task}")
        assert reasons(here, task) == [("completed", None)]
    failed = dispatched(here, "run:exit 3", "--to", "w1")
    here.follow(f"maestro task wait {failed}", code=3)
    ((reason, way),) = reasons(here, failed)
    assert (reason, way) == ("failed", f"maestro task retry {failed}")
    here.follow(str(way))


def test_a_run_of_a_workflow_is_explained_step_by_step(here: WorkflowPlace) -> None:
    here.create("gated", GATED)
    run = str(here.json("run", "gated", "--async")["id"])
    behind = str(here.json("run", "gated", "--async")["id"])
    until(lambda: reasons(here, run)[0][0] == "approval")
    ((reason, way),) = reasons(here, behind)
    assert (reason, way) == ("group", f"that run has to end: maestro task explain {run}")
    line = here.follow(f"maestro task explain {run} --format table").out
    assert "ask: waits: an answer to: Ship it?, since " in line
    ((_, way),) = reasons(here, run)
    here.follow(str(way).partition(",")[0])
    assert here.run("wait", run).code == 0 and reasons(here, run) == [("completed", None)]
    until(lambda: reasons(here, behind)[0][0] == "approval")
    here.follow(f"maestro workflow pause {behind}")
    (paused, gate) = reasons(here, behind)
    assert paused == ("pause", f"maestro workflow resume {behind}") and gate[0] == "approval"
    here.follow(str(paused[1]))
    here.follow(f"maestro workflow stop {behind} --reason no")


def test_a_task_in_a_paused_run_waits_since_the_pause(here: WorkflowPlace) -> None:
    go = here.node.folder / os.urandom(4).hex()
    busy = dispatched(here, f"run:until test -e {go}; do sleep 0.05; done", "--to", "w2")
    until(lambda: reasons(here, busy) == [("running", None)])
    here.create("kept", "steps:\n  - {id: a, agent: w2, prompt: 'true'}\n")
    run = str(here.json("run", "kept", "--async")["id"])
    until(lambda: reasons(here, run)[0][0] == "step")
    task = told(here, "task", "explain", run)["reasons"][0]["task"]
    assert reasons(here, task)[0][0] == "agent_busy"
    before = told(here, "task", "explain", task)["reasons"][0]["since"]
    here.follow(f"maestro workflow pause {run}")
    (event,) = told(here, "events", "tail", "--type", "workflow_run.paused", "--limit", "1", "--format", "json")
    (one,) = told(here, "task", "explain", task)["reasons"]
    assert (one["reason"], one["since"]) == ("pause", event["time"]) and one["since"] > before
    assert told(here, "task", "status", task)["waiting_since"] == event["time"]
    here.follow(f"maestro workflow stop {run} --reason no")
    go.touch()
    here.follow(f"maestro task wait {busy}")


def test_what_is_not_there_is_refused_in_one_line(here: WorkflowPlace) -> None:
    assert "there is no task 'nothing'" in here.follow("maestro task explain nothing", code=3).err
    assert "missing argument 'ID'" in here.follow("maestro task explain", code=2).err


def test_while_the_store_is_away_it_says_so(here: WorkflowPlace, server: StoreServer) -> None:
    here.follow("maestro agent stop w2")
    task = dispatched(here, "true", "--to", "w2", "--force")
    assert reasons(here, task)[0][0] == "agent_stopped"
    server.signal(signal.SIGSTOP)
    try:
        ((reason, way),) = reasons(here, task)
    finally:
        server.signal(signal.SIGCONT)
    assert reason == "store_away" and "nothing is lost" in str(way)
    until(lambda: reasons(here, task)[0][0] == "agent_stopped")
