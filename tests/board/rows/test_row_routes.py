"""The lists of a running board: of now what the commands print, and of the past what the log says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from maestro import config
from maestro.board.rows.inbox import inbox
from maestro.board.rows.lists import LISTS
from maestro.board.rows.positions import Positions
from maestro.runtime.daemon.plain_server import driven
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.handlers.workflow_runs import last_lines
from maestro.runtime.node.identity import node_id
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from replayers.timeline.timeline import Timeline
from tests.board.boards import RunningBoard
from tests.board.rows.test_rows import EVERYTHING, as_of, outcome
from tests.installation import Installation

COMMANDS = {
    "agents": ("agent", "list"),
    "tasks": ("task", "list"),
    "tasks?status=failed": ("task", "list", "--status", "failed"),
    "tasks?agent=ben": ("task", "list", "--agent", "ben"),
    "tasks?steps=1": ("task", "list", "--all"),
    "queue": ("queue", "status"),
    "workflows": ("workflow", "list"),
    "workflow-runs": ("workflow", "runs"),
    "workflow-runs?waiting=1": ("workflow", "runs", "--waiting"),
    "alerts?all=1": ("monitor", "alerts", "--all"),
    "nodes": ("node", "list"),
    "snapshots?all=1": ("state", "snapshots", "--all"),
    "schedules": ("schedule", "list"),
}
MOVING = ("heartbeat_age_s", "memory_bytes", "cpu_percent")
"""What differs from look to look."""


@pytest.fixture(scope="module")
def store(installation: Installation) -> Iterator[Store]:
    opened = open_store(config.load(installation.env, Path("/")))
    yield opened
    opened.close()


def still(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in MOVING} for row in rows]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_list_of_now_is_what_its_command_prints(installation: Installation, board: RunningBoard, path: str) -> None:
    told = installation.json(*COMMANDS[path], "--format", "json")
    assert still(board.get(f"/api/{path}")["rows"]) == still(told)


def test_a_heartbeat_is_told_of_now_only(board: RunningBoard) -> None:
    now = board.get("/api/nodes")
    assert now["rows"][0]["heartbeat_age_s"] is not None
    then = board.get(f"/api/nodes?at={now['head'] - 1}")
    assert then["position"] == now["head"] - 1
    assert [(row["status"], row["heartbeat_age_s"]) for row in then["rows"]] == [("up", None)]


def test_keys_are_listed_short_and_told_whole(installation: Installation, board: RunningBoard) -> None:
    long = "x" * 20_000
    installation.json("state", "set", "long", long)
    told = {row["key"]: row for row in installation.json("state", "list", "--format", "json")}
    rows = board.get("/api/state")["rows"]
    assert [row["key"] for row in rows] == list(told)
    for row in rows:
        whole = told[row["key"]]
        assert row["cut"] == (len(whole["value"]) > 500)
        assert {**row, "value": whole["value"]} == {**whole, "cut": row["cut"], "size": len(whole["value"])}
    assert board.get("/api/state-value?key=long")["value"] == long
    assert [row["key"] for row in board.get("/api/state?prefix=lo&limit=1")["rows"]] == ["long"]


def test_a_task_and_a_run_are_those_of_their_commands(installation: Installation, board: RunningBoard) -> None:
    task = board.get("/api/tasks?status=failed")["rows"][0]["id"]
    told = board.get(f"/api/task/{task}")
    assert told["row"] == installation.json("task", "status", task, "--format", "json")
    assert [run["run"] for run in told["runs"]] == [f"{task}-0.1"]
    assert told["events"][0]["type"] == "task.finished"
    assert told["events"][-1]["type"] == "task.dispatched"
    run = board.get("/api/workflow-runs")["rows"][0]["id"]
    told = board.get(f"/api/workflow/{run}")
    assert told["row"] == installation.json("workflow", "status", run, "--format", "json")
    items = sum(step["step"] == "check" for step in told["row"]["steps"])
    states = {node["id"]: (node["state"], node["progress"]) for node in told["graph"]["nodes"]}
    assert states == {
        "parts": ("completed", None),
        "check": ("completed", f"{items}/{items}"),
        "gate": ("waiting", None),
        "ship": ("waiting", None),
    }
    found = {(edge["from"], edge["to"]): edge["kind"] for edge in told["graph"]["edges"]}
    assert found == {("parts", "check"): "fan-out", ("check", "gate"): "needs", ("gate", "ship"): "needs"}


def test_the_inbox_tells_what_waits_and_what_settles_it(board: RunningBoard) -> None:
    told = board.get("/api/inbox")
    asked = next(item for item in told["items"] if item["kind"] == "approval")
    assert asked["title"] == "Ship it?\nAll of it."
    named = {"run": asked["workflow_run"], "step": "gate"}
    assert [(act["action"], act["arguments"]) for act in asked["acts"]] == [("approve", named), ("reject", named)]
    failed = next(item for item in told["items"] if item["kind"] == "failed")
    assert failed["acts"] == [{"action": "retry", "label": "Try again", "arguments": {"task": failed["task"]}}]
    assert told["counts"]["approval"] == told["counts"]["failed"] == 1
    then = board.get(f"/api/inbox?at={told['head'] - 1}")
    assert not any(item["acts"] for item in then["items"])


BAD = (
    "tasks?limit=0",
    "tasks?limit=1001",
    "tasks?offset=x",
    "tasks?at=999999",
    "tasks?at=-1",
    "tasks?colour=red",
    "tasks?status=blue",
    "agents?status=blue",
    "queue?which=completed",
    "queue?which=blue",
    "alerts?offset=99001",
    "state-value",
    "workflow-runs?status=blue",
)


@pytest.mark.parametrize("path", BAD)
def test_bad_input_is_answered_with_what_where_and_mend(board: RunningBoard, path: str) -> None:
    status, _, body = board.ask(f"/api/{path}")
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "invalid")
    assert error["what"] and error["mend"] and (error["where"] or "at=" in path)


@pytest.mark.parametrize("path", ("task/nothing", "workflow/nothing", "state-value?key=nothing", "tasks?agent=nobody"))
def test_what_there_is_not_is_answered_with_404(board: RunningBoard, path: str) -> None:
    status, _, body = board.ask(f"/api/{path}")
    assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")


def test_the_past_has_a_tag_and_is_not_sent_twice(board: RunningBoard) -> None:
    status, headers, _ = board.ask("/api/agents?at=20")
    assert (status, board.ask("/api/agents?at=20", f"If-None-Match: {headers['etag']}")[0]) == (200, 304)
    assert "etag" not in board.ask("/api/agents")[1]


class Apart:
    """A store of whose present nothing may be looked at."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        assert name not in ("work", "now", "views"), name
        return getattr(self._store, name)


def test_nothing_of_the_present_is_looked_at_in_the_past(
    installation: Installation, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, timeline, head = (
        config.load(installation.env, Path("/")),
        Timeline.open(store, tmp_path),
        store.log.head(),
    )

    def looked(*_: Any) -> Any:
        raise AssertionError

    for module, name in (
        ("monitor.examination", "observe"),
        ("handlers.snapshots", "SnapshotFolders"),
        ("handlers.workflow_runs.last_lines", "_read"),
    ):
        monkeypatch.setattr(f"maestro.runtime.{module}.{name}", looked)
    positions = Positions(settings, node_id(settings.home), cast(Store, Apart(store)))
    failed = next(row.id for row in positions.context(timeline.at(head.seq - 1)).views.tasks(status="failed").rows)
    for position in range(1, head.seq, 5):
        context = positions.context(timeline.at(position))
        for known in LISTS.values():
            assert isinstance(outcome(context, known.command({}, EVERYTHING)), bytes)
        assert inbox(context)
    driven(last_lines.add_last_lines(context, {"steps": [{"status": "failed", "task": failed}]}))
    live = positions.context(timeline.at(position), live=False)
    live.is_past = False
    assert outcome(live, p.AgentList(status="all")) == "AssertionError"


def test_every_list_of_a_real_log_is_what_the_log_up_to_there_gives(
    installation: Installation, store: Store, tmp_path: Path
) -> None:
    settings = config.load(installation.env, Path("/"))
    positions, timeline, head = Positions(settings, "here", store), Timeline.open(store, tmp_path), store.log.head().seq
    for position in range(3, head, 7):
        context, wanted = positions.context(timeline.at(position)), as_of(settings, store, position)
        commands: list[p.Command] = [known.command({}, EVERYTHING) for known in LISTS.values()]
        commands += [p.WorkflowStatus(id=row.id, trace=True) for row in context.views.workflow_runs().rows]
        commands += [p.TaskStatus(id=row.id) for row in context.views.tasks().rows]
        for command in commands:
            found = outcome(context, command)
            assert isinstance(found, bytes), (position, command, found)
            assert found == outcome(wanted, command), (position, command)
