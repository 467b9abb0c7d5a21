"""A plan that is loaded anew knows which workspaces the steps of open runs hold."""

from __future__ import annotations

from maestro.model import events as e
from maestro.runtime.node.plan_loader import load_plan
from maestro.store.contract import Append
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Views


def test_what_open_runs_hold_is_held_in_a_plan_that_is_loaded() -> None:
    store = MemoryStore("held")
    facts = [
        *(e.WorkflowRunStarted(run, "flow", 1, "") for run in ("open", "over")),
        *(e.WorkspaceArchiveWanted(run, "fix", "n", f"/w/{run}") for run in ("open", "over")),
        e.WorkspaceArchiveWanted("open", "done", "n", "/w/done"),
        e.StepEnded("open", "done", "completed"),
        e.WorkflowRunFinished("over", "failed"),
    ]
    for fact in facts:
        store.log.commit([Append((e.NewEvent(f"workflow-run:{fact.run}", fact),), "test", "")], None)
    holds = load_plan(Views(store), 60).holds
    assert holds.holder(("n", "/w/open")) == ("open", "fix")
    assert holds.holder(("n", "/w/over")) is None and holds.holder(("n", "/w/done")) is None
    assert holds.keeps_out(("n", "/w/open"), ("", "")) and not holds.keeps_out(("n", "/w/open"), ("open", "fix"))
