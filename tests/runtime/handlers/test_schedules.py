"""`maestro schedule`, as a user types it: checked when it is added, fired by hand, listed, switched, restored."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from maestro.model import events as e
from tests.cli.conftest import CommandLine
from tests.runtime.acting import Node, until

WORKFLOW = (
    "vars: {n: 1}\nschedules: [{cron: '0 2 * * *', params: {n: 2}}]\nsteps:\n- {id: s, run: 'echo {{ vars.n }}'}\n"
)
NEVER = "0 0 29 2 *"


class Place:
    """A node, and the command line in its environment."""

    def __init__(self, node: Node, line: CommandLine) -> None:
        self.node, self.line = node, line

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.line.here(*words)
        assert done.code == code, (words, done)
        return json.loads(done.out)

    def refused(self, code: int, *words: str) -> str:
        done = self.line.here(*words)
        assert done.code == code and "Traceback" not in done.err, (words, done)
        return done.err.strip()

    def add(self, name: str, *words: str, cron: str = NEVER, tz: str = "Europe/Berlin") -> Any:
        return self.json("schedule", "add", name, "--cron", cron, "--tz", tz, "--", *words)

    def rows(self) -> dict[str, Any]:
        return {row["id"]: row for row in self.json("schedule", "list")}

    def facts(self, kind: type) -> list[Any]:
        return [event.fact for event in self.node.events() if isinstance(event.fact, kind)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("sch")) as node:
        node.agent_type("worker")
        node.json("agent", "assign", "worker", "--name", "w1", "--to-workspace", f"{node.folder}/w1")
        yield node


@pytest.fixture
def place(node: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(node, CommandLine(node.env, capfdbinary, monkeypatch))


def test_an_empty_list_says_what_makes_a_schedule(place: Place) -> None:
    told = place.line.here("schedule", "list", "--format", "table").err.strip()
    assert told == "maestro: no schedules; maestro schedule add makes one"
    assert place.add("first", "task", "dispatch", "run: true", "--to", "w1")["enabled"]


def test_a_snapshot_by_a_schedule_expires_and_is_the_latest(place: Place) -> None:
    row = place.add("snap", "state", "snapshot", "--workspace", f"{place.node.folder}/w1")
    assert (row["command"].split()[:2], row["node"], row["next_at"][:10]) == (
        ["state", "snapshot"], place.node.id, "2028-02-28"
    )  # fmt: skip
    made = place.json("schedule", "run", "snap")["last_made"]
    (snapshot,) = place.json("state", "snapshots")
    assert (snapshot["id"], snapshot["reason"], snapshot["latest"]) == (made, "schedule", True)
    assert snapshot["automatic"] and snapshot["expires_at"] and snapshot["agents"] == ["w1"]
    assert place.json("state", "verify", "latest")["snapshot"] == made


def test_a_task_and_the_run_of_a_workflow_begin_and_audit_tells_their_story(place: Place) -> None:
    (place.node.folder / "prompt.md").write_text("run: cat")
    place.add("dispatch", "task", "dispatch", f"@{place.node.folder}/prompt.md", "--to", "w1", "--priority", "2")
    (place.node.folder / "prompt.md").unlink()  # it was read when the schedule was added
    file = place.node.folder / "nightly.yaml"
    file.write_text(WORKFLOW)
    assert place.line.here("workflow", "create", "nightly", "--definition", str(file)).err == ""
    task = place.json("schedule", "run", "dispatch")["last_made"]
    assert place.json("task", "wait", task)["priority"] == 2
    run = place.json("schedule", "run", "nightly#0")["last_made"]
    assert place.json("workflow", "wait", run)["params"] == {"n": 2}
    story = [line["type"] for line in place.json("audit", "schedule:dispatch")]
    assert story == ["schedule.added", "schedule.fired", "task.dispatched", "schedule.ended"]
    told = place.line.here("audit", "schedule:nightly#0", "--format", "table").out
    assert "by_hand=yes" in told and f"made={run}" in told and "schedule.fired firing:nightly#0" in told
    rows = place.rows()
    assert rows["nightly#0"]["workflow"] == "nightly" and rows["nightly#0"]["next_at"]
    assert next(iter(rows)) == "nightly#0"  # what is due next comes first
    assert "nightly#0" in place.line.here("schedule", "list", "--format", "table").out


def test_while_its_run_is_on_it_begins_no_other_and_what_fails_is_said(place: Place) -> None:
    place.add("long", "task", "dispatch", "run: while ! [ -e stop ]; do sleep 0.05; done", "--to", "w1")
    task = place.json("schedule", "run", "long")["last_made"]
    line = place.refused(4, "schedule", "run", "long")
    assert f"schedule long begins nothing new: task {task} of the firing before is" in line
    way = "maestro schedule list shows it"
    assert line.endswith(way) and place.line.here(*shlex.split(way)[1:3]).code == 0
    (place.node.folder / "w1" / "stop").touch()
    place.json("task", "wait", task)
    place.json("agent", "stop", "w1")
    failed = place.line.here("schedule", "run", "long")
    assert failed.code == 1 and "is stopped" in failed.err and not json.loads(failed.out)["last_ok"]
    place.json("agent", "restart", "w1")
    assert place.json("schedule", "run", "long")["last_ok"]


def test_what_cannot_be_is_refused_when_it_is_added_and_nothing_is_kept(place: Place) -> None:
    def wrong(code: int, *words: str, cron: str = NEVER, tz: str = "UTC") -> str:
        return place.refused(code, "schedule", "add", "bad", "--cron", cron, "--tz", tz, "--", *words)

    task = ("task", "dispatch", "do it", "--to", "w1")
    assert "has 4 fields" in wrong(2, *task, cron="* * * *")
    assert "`61` is no minute" in wrong(2, *task, cron="61 * * * *")
    assert "did you mean `Europe/Berlin`?" in wrong(2, *task, tz="Europe/Berln")
    assert "--key: each firing has a key of its own" in wrong(2, *task, "--key", "k")
    assert "--sync: nobody waits" in wrong(2, *task, "--sync")
    assert "no agent type w9" in wrong(3, "task", "dispatch", "do it", "--to", "w9")
    assert "did you mean 'nightly'?" in wrong(3, "workflow", "run", "nightyl")
    assert "there is no var" in wrong(2, "workflow", "run", "nightly", "--param", "m=1")
    assert "--resume-from: a schedule begins a new run" in wrong(2, "workflow", "run", "nightly", "--resume-from", "s")
    assert "is no workspace of an agent" in wrong(3, "state", "snapshot", "--workspace", "/nowhere")
    assert "did you mean 'w1'?" in wrong(3, "workspace", "clean", "w11")
    file = place.node.folder / "other.yaml"
    file.write_text(WORKFLOW)
    line = wrong(2, "workflow", "run", str(file))
    way = "maestro workflow create other --definition"
    assert f"a schedule runs a stored workflow, no file; store it: {way} FILE" in line
    assert place.line.here(*shlex.split(way)[1:], str(file)).code == 0
    assert place.add("other", "workflow", "run", "other")["enabled"]
    assert "bad" not in place.rows()


def test_names_that_are_not_there_are_told_and_a_workflows_own_are_switched_with_it(place: Place) -> None:
    place.add("weekly", "workspace", "clean", "w1", cron="0 4 * * SUN")
    for words in (("remove", "wekly"), ("enable", "wekly"), ("disable", "wekly"), ("run", "wekly")):
        line = place.refused(3, "schedule", *words)
        assert line.endswith("there is no schedule 'wekly'; did you mean 'weekly'? maestro schedule list shows all")
    assert "weekly" in place.rows()
    assert place.json("schedule", "disable", "weekly")["next_at"] is None
    assert place.json(*ADD_WEEKLY)["enabled"]  # adding it anew switches it on
    assert place.json("schedule", "remove", "weekly")["removed"] and "weekly" not in place.rows()
    place.json("schedule", "run", "nightly#0")
    line = place.refused(4, "schedule", "disable", "nightly#0")
    way = "maestro workflow disable nightly"
    assert way in line and place.line.here(*shlex.split(way)[1:]).code == 0
    assert place.rows()["nightly#0"]["next_at"] is None
    file = place.node.folder / "nightly.yaml"
    file.write_text(WORKFLOW.replace("echo", "printf"))
    stored = place.line.here("workflow", "create", "nightly", "--definition", str(file))
    way = "maestro workflow enable nightly"
    assert f"its schedules are switched off: {way}" in stored.err and place.line.here(*shlex.split(way)[1:]).code == 0
    assert place.rows()["nightly#0"]["next_at"]


def test_an_agent_whose_workspace_was_cleaned_by_a_schedule_goes_on(place: Place) -> None:
    place.add("tidy", "workspace", "clean", "w1")
    (place.node.folder / "w1" / "old").write_text("x")
    assert place.json("schedule", "run", "tidy")["last_ok"] and not (place.node.folder / "w1" / "old").exists()
    until(lambda: place.line.here("agent", "health", "w1").code == 0)
    place.json("agent", "stop", "w1")
    assert place.json("schedule", "run", "tidy")["last_ok"]
    assert place.line.here("agent", "health", "w1").code == 1  # as its user has left it
    place.json("agent", "restart", "w1")
    place.json("schedule", "remove", "tidy")


ADD_WEEKLY = ("schedule", "add", "weekly", "--cron", "0 4 * * SUN", "--", "workspace", "clean", "w1")


def test_a_restore_brings_schedules_back_and_fires_nothing_of_what_was_before_it(place: Place) -> None:
    place.add("kept", "task", "dispatch", "run: true", "--to", "w1")
    first = place.json("schedule", "run", "kept")["last_made"]
    place.json("task", "wait", first)
    snapshot = place.json("state", "snapshot")["id"]
    second = place.json("schedule", "run", "kept")["last_made"]
    place.json("task", "wait", second)
    place.json("schedule", "remove", "kept")
    place.add("younger", "task", "dispatch", "run: true", "--to", "w1")
    fired = len(place.facts(e.ScheduleFired))
    place.json("state", "restore", snapshot)
    rows = place.rows()
    assert "younger" not in rows and rows["kept"]["last_made"] == second
    until(lambda: place.line.here("agent", "health", "w1").code == 0)
    third = place.json("schedule", "run", "kept")["last_made"]
    assert len({first, second, third}) == 3
    assert len(place.facts(e.ScheduleFired)) == fired + 1 and not place.facts(e.ScheduleSkipped)


def test_an_interrupted_firing_by_hand_goes_on_and_the_list_shows_it(place: Place) -> None:
    (place.node.folder / "w1" / "big").write_bytes(os.urandom(8 << 20))
    place.add("big", "state", "snapshot")
    fired = len(place.facts(e.ScheduleFired))
    typed = subprocess.Popen(
        [sys.executable, "-m", "maestro", "schedule", "run", "big"],
        env=place.node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: len(place.facts(e.ScheduleFired)) > fired)
    typed.send_signal(signal.SIGINT)
    out, err = typed.communicate(timeout=60)
    if typed.returncode:  # else it was over before
        assert typed.returncode == 130, (out, err)
        assert "interrupted; what schedule big has begun goes on: maestro schedule list" in err
    until(lambda: place.rows()["big"]["last_ok"])
