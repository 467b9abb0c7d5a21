"""A run's page, its files, and what can be done from the board, over a real installation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from starlette.requests import Request

from maestro.board import acts
from maestro.board.refusal import Unfit
from tests.board.boards import RunningBoard
from tests.installation import Installation


def events(board: RunningBoard, kind: str) -> list[Any]:
    """The events of a type, oldest first."""
    found = board.get(f"/api/events?limit=1000&kind={kind}")["events"]
    return sorted(found, key=lambda event: event["seq"])


def refused(board: RunningBoard, path: str) -> tuple[int, dict[str, str]]:
    status, _, body = board.ask(path)
    return status, json.loads(body)["error"]


def did(
    board: RunningBoard, action: str, confirm: str | None = None, /, **arguments: Any
) -> tuple[int, dict[str, Any]]:
    data = {"action": action, "arguments": arguments} | ({"confirm": confirm} if confirm else {})
    status, _, body = board.post("/api/do", data)
    return status, json.loads(body)


def test_a_run_is_told_as_it_was(board: RunningBoard) -> None:
    started, ended = events(board, "run.started")[0], events(board, "run.ended")[0]
    run = ended["data"]["run"]
    row = board.get(f"/api/run/{run}")
    assert (row["prompt"], row["agent"], row["attempt"]) == ("echo one > one.txt; echo done", "ann", 1)
    assert row["evidence"]["outcome"] == "ok" and row["evidence"]["result"] == "done"
    assert [each["type"] for each in row["events"]] == ["run.released", "run.started", "run.ended"]
    assert [each["what"].partition(" ")[0] for each in row["timeline"]] == [
        "dispatched",
        "released",
        "started",
        "ended:",
    ]
    assert row["log"] == {"bytes": 5, "here": True, "why": None, "node": row["node"], "ended": True}
    then = board.get(f"/api/run/{run}?at={started['seq']}")
    assert then["status"] == "running" and then["evidence"]["outcome"] is None and then["ended_at"] is None
    assert [each["type"] for each in then["events"]] == ["run.released", "run.started"]
    assert then["timeline"] == row["timeline"][:3] and then["tools"] == []
    assert refused(board, f"/api/run/{run}?at=1") == (
        404,
        {
            "what": f"there was no run '{run}' at position 1",
            "where": "",
            "mend": "go to a later position, or look at the task",
            "code": "not_found",
        },
    )
    second = board.get(f"/api/run/{events(board, 'run.ended')[1]['data']['run']}")
    assert second["read"] == [{"kind": "task", "name": row["task"], "value": "completed"}]


def test_what_a_step_read_is_told(board: RunningBoard) -> None:
    step = next(event for event in events(board, "workflow_step.started") if event["data"]["instance"] == "check[0]")
    row = board.get(f"/api/run/{step['data']['task']}-0.1")
    assert row["prompt"] == step["data"]["told"] != "" and step["data"]["read"]
    values = {each["name"]: each["value"] for each in row["read"] if each["kind"] == "value"}
    assert values == step["data"]["read"]


def test_a_log_is_read_in_parts_and_searched(board: RunningBoard) -> None:
    ended = events(board, "run.ended")[0]["data"]["run"]
    path = f"/api/run/{ended}/log"
    part = {"offset": 0, "next": 5, "size": 5, "text": "done\n", "ended": True, "whole": True}
    assert board.get(path) == part == board.get(f"{path}?offset=-100")
    assert board.get(f"{path}?offset=3")["text"] == "e\n" and board.get(f"{path}?offset=99")["offset"] == 5
    assert board.get(f"{path}?q=DONE") == {"matches": [{"offset": 0, "line": 1, "text": "done"}], "next": None}
    for wrong in ("q=", "offset=x", "limit=1", "q=a&from=-1", f"limit={1 << 30}"):
        assert refused(board, f"{path}?{wrong}")[0] == 400
    started = events(board, "run.started")[0]["data"]
    folder = Path(started["folder"])
    folder.rename(folder.with_name("away"))
    try:
        status, error = refused(board, path)
        assert status == 404 and "is gone" in error["what"]
        assert not board.get(f"/api/run/{ended}")["log"]["here"]
    finally:
        folder.with_name("away").rename(folder)


def test_workspaces_are_compared_with_their_archive(board: RunningBoard, installation: Installation) -> None:
    (taken,) = events(board, "snapshot.taken")[:1]
    at = taken["seq"]
    ann, ben = board.get(f"/api/files?at={at}")["workspaces"]
    assert (ann["agent"], ann["here"], ben["agent"]) == ("ann", True, "ben")
    assert ann["events_apart"] == at - ann["snapshot_position"]
    work = installation.folder / "work" / "ann"
    (work / "more").write_text("now")
    found = board.get(f"/api/files/ann?at={at}")
    assert [(row["path"], row["change"]) for row in found["files"]] == [("more", "added")] and found["same"] == 1
    text = board.get(f"/api/files/ann/text?path=one.txt&at={at}")
    assert (text["then"], text["now"], text["binary"], text["cut"]) == ("one\n", "one\n", False, False)
    assert refused(board, f"/api/files/ann/text?path=../x&at={at}")[0] == 400
    status, error = refused(board, f"/api/files/ann?at={taken['data']['position'] - 1}")
    assert (status, error["what"]) == (404, "there is no archive of it at or before then")
    installation.json("state", "snapshot")
    (work / "more").write_text("later")
    text = board.get("/api/files/ann/text?path=more")
    assert (text["then"], text["now"]) == ("now", "later")


def test_commands_are_carried_out_and_fail_as_they_do(board: RunningBoard, installation: Installation) -> None:
    (item,) = [each for each in board.get("/api/inbox")["items"] if each["kind"] == "approval"]
    approve = next(act for act in item["acts"] if act["action"] == "approve")
    status, done = did(board, "approve", **approve["arguments"], reason="fine")
    assert status == 200 and done["ok"], done
    assert events(board, "workflow_step.approved")[-1]["data"]["reason"] == "fine"
    status, again = did(board, "reject", **approve["arguments"])
    told = installation.run("workflow", "reject", item["workflow_run"], "gate", "--format", "json")
    assert status == 409 and again["error"]["what"] in told.stderr and again["error"]["code"] == "refused"
    failed = next(event for event in events(board, "run.ended") if event["data"]["outcome"] != "ok")["data"]["task"]
    assert did(board, "retry", task=failed)[1]["data"]["status"] in ("queued", "running", "failed")
    running = board.get("/api/tasks?status=running")["rows"]
    assert did(board, "cancel", task=running[0]["id"], reason="enough")[1]["data"]["status"] == "cancelled"
    for arguments in ({"task": "x"}, {"workflow_run": "x"}):
        assert did(board, "cancel", **arguments)[0] == 404


def test_a_board_that_only_shows_does_nothing() -> None:
    board = SimpleNamespace(actions=False)
    scope = {"type": "http", "method": "POST", "app": SimpleNamespace(board=board)}
    with pytest.raises(Unfit, match="only shows") as refusal:
        trio.run(acts.do, Request(scope))
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"action": "format"}, "action"),
        ({"action": "retry", "arguments": {"tusk": "x"}}, "arguments"),
        ({"action": "retry", "arguments": {"task": 1}}, "arguments"),
        ({"action": "cancel"}, "arguments"),
        ({"action": "restore", "arguments": {"at": 1, "source": "x"}}, "arguments"),
        ({"action": "fork", "arguments": {"into": "x", "root": "here"}}, "root"),
        ({"action": "fork", "arguments": {"into": "x", "root": "/a/../b"}}, "root"),
        ([], "body"),
        ({"action": "retry", "arguments": {}, "more": 1}, "body"),
    ],
)
def test_what_is_no_act_is_refused(board: RunningBoard, data: object, where: str) -> None:
    status, _, body = board.post("/api/do", data)
    error = json.loads(body)["error"]
    assert (status, error["where"], error["code"]) == (400, where, "invalid") and error["mend"]


def test_a_restore_is_done_as_it_was_shown_or_not_at_all(board: RunningBoard, installation: Installation) -> None:
    work, at = installation.folder / "work" / "ann", board.get("/api/log")["head"]
    installation.json("state", "snapshot")
    at = events(board, "snapshot.taken")[-1]["seq"]
    (work / "later").write_text("x")
    status, shown = did(board, "restore", at=at)
    agents = {row["agent"]: row for row in shown["dry_run"]["agents"]}
    assert status == 200 and agents["ann"]["deleted"]["paths"] == ["later"], shown
    (work / "latest").write_text("x")
    status, error = did(board, "restore", shown["confirm"], at=at)
    assert (status, error["error"]["code"]) == (409, "conflict") and "agents" in error["error"]["what"]
    assert (work / "later").exists()
    _, shown = did(board, "restore", at=at)
    installation.json("task", "dispatch", "true", "--to", "ben", "--sync")  # what nobody was shown as undone
    status, error = did(board, "restore", shown["confirm"], at=at)
    assert status == 409 and "undone (task:" in error["error"]["what"]
    _, shown = did(board, "restore", at=at)
    assert did(board, "restore", shown["confirm"], at=at, skip_failed=True)[0] == 409
    status, done = did(board, "restore", shown["confirm"], at=at)
    assert status == 200 and done["data"]["position"] == at and not (work / "later").exists()
    assert did(board, "restore", shown["confirm"], at=at)[0] == 409


def test_a_fork_is_made_as_it_was_shown(board: RunningBoard, installation: Installation) -> None:
    root = installation.folder / "fork"
    arguments = {"into": f"{installation.env['MAESTRO_NAMESPACE']}-f", "root": str(root), "at": 6}
    status, shown = did(board, "fork", **arguments)
    assert status == 200 and shown["dry_run"]["position"] == 6 and not root.exists(), shown
    status, done = did(board, "fork", shown["confirm"], **arguments)
    assert status == 200 and done["data"]["events"] == shown["dry_run"]["events"] and (root / "env").exists()
    shutil.rmtree(root)
