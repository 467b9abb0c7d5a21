"""The audit of a workflow's run: its whole timeline, with the tasks that it made."""

from __future__ import annotations

from typing import Any

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from replayers import audit
from replayers.audit import Query
from tests.runtime.leading import Leader, commit

STEPS: dict[str, Any] = {"steps": [{"id": "a", "run": "x"}, {"id": "b", "run": "x", "needs": "a"}]}


def told(store: Store, query: Query) -> list[tuple[str, str]]:
    found, lines = [], None
    while lines is None or lines:
        lines, after = audit.page(store, query)
        found += [(line.event.type, line.event.subject) for line in lines]
        query = audit.further(query, after)
    return found


def live(store: Store, run: str) -> Leader:
    """A run, each of whose tasks has a run of its own."""
    leader = Leader(store, run, STEPS)

    def each(leader: Leader) -> bool:
        for id in leader.run.working:
            task = leader.run.instances[id].task
            name = f"{task}-0.1"
            released = e.RunReleased(name, task, 0, 1, ".run", "north", 60.0, 1)
            begun = e.RunStarted(name, task, ".run", "north", "/r", "/w")
            ended = e.RunEnded(name, task, ".run", "ok", 0)
            commit(store, *(NewEvent(f"run:{name}", fact) for fact in (released, begun, ended)))
        return False

    return leader.go(each)


STORY = [
    ("workflow_run.started", "workflow-run:R1"),
    ("workflow_step.readied", "workflow-run:R1"),
    ("workflow_step.started", "workflow-run:R1"),
    ("task.dispatched", "task:R1T1"),
    ("run.released", "run:R1T1-0.1"),
    ("run.started", "run:R1T1-0.1"),
    ("run.ended", "run:R1T1-0.1"),
    ("task.finished", "task:R1T1"),
    ("workflow_step.ended", "workflow-run:R1"),
]


def test_it_has_the_stories_of_its_tasks_and_of_no_others(store: Store) -> None:
    live(store, "R0")
    live(store, "R1")
    live(store, "R2")
    story = told(store, Query("R1"))
    assert story[: len(STORY)] == STORY
    assert story[-1] == ("workflow_run.finished", "workflow-run:R1")
    assert not any("R0" in subject or "R2" in subject for _, subject in story)
    assert told(store, Query("workflow-run:R1", since=2)) == told(store, Query("R1"))  # as the whole log has it
    assert told(store, Query("R1", types=("workflow_step",)))[0] == STORY[1]


def test_what_a_restore_undid_stays_part_of_it() -> None:
    store = MemoryStore("n")
    live(store, "R1")
    whole = told(store, Query("R1"))
    half = len(whole) // 2
    commit(store, NewEvent("restore:x", e.RestoreDone("x", half)), floors=True)
    assert [each for each in told(store, Query("workflow-run:R1")) if each in whole] == whole


def test_children_are_told_by_their_start_and_end() -> None:
    store = MemoryStore("n")
    leader = Leader(store, "R1", {"steps": [{"id": "c", "workflow": "other"}]})
    leader.go(lambda it: bool(it.run.startable))
    child = e.WorkflowRunStarted("R2", "other", 1, leader.run.fact.definition, parent="R1", instance="c")
    leader.tell(e.StepStarted("R1", "c", 1, child="R2"), NewEvent("workflow-run:R2", child))
    commit(store, NewEvent("workflow-run:R2", e.WorkflowRunFinished("R2", "completed")))
    leader.end("c")
    leader.go()
    assert [each for each in told(store, Query("R1")) if each[1].endswith("R2")] == [
        ("workflow_run.started", "workflow-run:R2"),
        ("workflow_run.finished", "workflow-run:R2"),
    ]
