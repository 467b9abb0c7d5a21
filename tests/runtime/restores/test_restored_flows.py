"""Going back while workflows run: they end as a whole, or go on as they stood; real daemon, real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.model.events import StepStarted, WorkflowRunFinished, WorkflowRunStarted
from tests.runtime.acting import Node, marked, until
from tests.runtime.scheduler.workflows.flows import Flow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("flows")) as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        yield node.up()


def restore(node: Node, *words: str) -> dict[str, Any]:
    row: dict[str, Any] = node.json("state", "restore", *words)
    return row


def test_runs_that_were_open_then_or_are_now_end_as_a_whole_and_their_groups_are_free(node: Node) -> None:
    mark = f"flow-{node.namespace}"
    leaf = Flow(node, {"steps": [{"id": "deep", "run": f"exec env MARK={mark} sh -c 'sleep 300'"}]})
    grouped = {"concurrency": {"group": "one"}}
    steps = [
        {"id": "sub", "workflow": leaf.name, "retries": 3},
        {"id": "busy", "agent": "ann", "prompt": f"exec env MARK={mark} sh -c 'sleep 300'", "on_failure": "sorry"},
        {"id": "sorry", "run": "touch ../sorry"},
    ]
    flow = Flow(node, {"steps": steps, **grouped}).start()
    waits = Flow(node, {"steps": [{"id": "a", "run": "true"}], **grouped}).start()
    until(lambda: len(marked(mark)) >= 2)
    flow.until("busy", "running")
    child = flow.until("sub", waiting_for="child")["child"]
    position = node.json("state", "snapshot")["position"]
    later = Flow(node, {"steps": [{"id": "ask", "approval": True}]}).start()
    later.until("ask", waiting_for="approval")

    planned = restore(node, "latest", "--dry-run")
    assert sorted(planned["open_workflow_runs"]) == sorted([flow.run, waits.run, child])
    assert later.run in planned["undone"]["workflow_runs"]
    assert len(planned["open_tasks"]) == 2
    row = restore(node, "latest")
    assert sorted(row["cancelled_workflow_runs"]) == sorted([flow.run, waits.run, child])
    assert row["resumed_workflow_runs"] == []
    until(lambda: not marked(mark))
    for run in (flow.run, waits.run, child):
        found = node.json("workflow", "status", run)
        assert (found["status"], found["why"]) == ("cancelled", "restored")
        assert not any(step["status"] in ("running", "completed") for step in found["steps"])
    assert node.run("workflow", "status", later.run).returncode == 3
    assert not [task for task in node.json("task", "list", "--all") if task["status"] in ("queued", "running")]
    ends = [event.fact for event in node.events("workflow_run.finished") if event.seq > position]
    told = [fact.run for fact in ends if isinstance(fact, WorkflowRunFinished)]
    assert sorted(told) == sorted([flow.run, waits.run, child, later.run])
    waits.start().to_end()
    assert node.json("replay", "verify")["ok"]


def test_runs_go_on_where_that_is_asked_for_and_an_approval_since_is_to_be_given_again(node: Node) -> None:
    steps = [
        {"id": "long", "agent": "ann", "prompt": "echo again >> times; until test -e go; do sleep 0.05; done"},
        {"id": "gate", "approval": True},
        {"id": "ship", "needs": ["gate"], "run": "echo shipped"},
        {"id": "last", "needs": ["ship", "long"], "run": "true"},
    ]
    flow = Flow(node, {"steps": steps}).start()
    times = node.folder / "ann/times"
    until(lambda: times.exists() and times.read_text() == "again\n")
    flow.until("gate", waiting_for="approval")
    node.json("state", "snapshot")
    node.json("workflow", "approve", flow.run, "gate")
    assert flow.until("ship", "completed")["result"] == "shipped"

    row = restore(node, "latest", "--resume-queued")
    assert row["resumed_workflow_runs"] == [flow.run] and row["cancelled_workflow_runs"] == []
    until(lambda: times.read_text() == "again\nagain\n")
    rows = flow.steps()
    assert (rows["gate"]["waiting_for"], rows["ship"]["status"]) == ("approval", "waiting")
    assert (rows["long"]["status"], rows["long"]["attempt"]) == ("running", 1)
    (node.folder / "ann/go").touch()
    flow.until("long", "completed")
    node.json("workflow", "approve", flow.run, "gate")
    flow.to_end()
    started = [event.fact.instance for event in flow.events() if isinstance(event.fact, StepStarted)]
    assert started.count("ship") == 1 and started.count("long") == 1
    assert node.json("replay", "verify")["ok"]


def test_a_restore_that_fails_lets_the_commands_of_runs_go_on(node: Node) -> None:
    """Nobody stops the agent that is always there: what it runs stands still meanwhile, and goes on."""
    flow = Flow(node, {"steps": [{"id": "a", "run": "until test -e ../go; do sleep 0.05; done; echo went"}]}).start()
    flow.until("a", "running")
    (node.folder / "ann/large").write_bytes(os.urandom(200_000))
    node.json("state", "snapshot")
    pack = max((node.home / "snapshots/packs").glob("*.pack"), key=lambda path: path.stat().st_mtime)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    (node.folder / "ann/large").unlink()
    failed = node.run("state", "rollback", "latest", "--skip-verify")
    assert failed.returncode == 6, failed.stderr
    assert len(node.events("restore.failed")) == 1
    started = flow.events()[0].fact
    assert isinstance(started, WorkflowRunStarted)
    Path(started.folder, "go").touch()
    assert flow.to_end()["steps"][0]["result"] == "went"
