"""The run of a workflow as its own events make it, found by their links."""

from __future__ import annotations

from typing import Any

import pytest

from maestro.model import events as e
from maestro.model.errors import VerificationFailed
from maestro.model.events import BlobRef, NewEvent
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.run_reader import read_run, run_events
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Views
from tests.runtime.leading import BAD, OK, Leader, commit

DEPLOY: dict[str, Any] = {
    "steps": [
        {"id": "build", "run": "make", "retries": 1},
        {"id": "test", "agent": "tester", "prompt": "t", "needs": "build", "for_each": [1, 2, 3]},
        {"id": "fix", "agent": "fixer", "prompt": "f", "needs": "test",
         "again": {"from": "test", "until": "x", "max": 3}},
        {"id": "ask", "approval": {"prompt": "Ship it?"}, "needs": "fix"},
        {"id": "ship", "run": "ship", "needs": "ask"},
    ]
}  # fmt: skip


def header_of(store: Store, run: str) -> RunHeader:
    row = Views(store).workflow_run(run).row
    assert row is not None
    return row


def noise(store: Store, count: int) -> None:
    commit(store, *(NewEvent(f"state:{n}", e.StateSet(f"{n}", "v", None)) for n in range(count)))


def same(one: Any, other: Any) -> None:
    for name in ("status", "instances", "current", "tokens", "asking", "turned", "left", "startable", "used_ms"):
        assert getattr(one, name) == getattr(other, name), name


def deployed(store: Store, run: str = "R1") -> Leader:
    leader = Leader(
        store, run, DEPLOY, {"build": [BAD, OK]}, {"fix": [False, True]}, {"test": ["a", "b", "c"]}
    )  # fmt: skip
    return leader.go()


def test_a_run_read_from_the_log_is_the_run_that_was_led(store: Store) -> None:
    leader = deployed(store)
    read, events = read_run(store, header_of(store, "R1"))
    same(read, leader.run)
    assert list(read.asking) == ["ask"]
    assert [event.prev for event in events[1:]] == [event.seq for event in events[:-1]]


@pytest.mark.parametrize("gap", [0, 3, 40, 700])
def test_it_is_found_whatever_stands_between_its_events(gap: int) -> None:
    store = MemoryStore("n")
    leader = Leader(store, "R1", DEPLOY, until={"fix": [True]}, items={"test": [1, 2, 3]})
    other = Leader(store, "R2", DEPLOY, until={"fix": [True]}, items={"test": [1, 2, 3]})
    steps = 0

    def each(_: Leader) -> bool:
        nonlocal steps
        steps += 1
        noise(store, gap) if gap and steps % 3 == 0 else None
        return False

    leader.go(each)
    other.go()
    same(read_run(store, header_of(store, "R1"))[0], leader.run)
    same(read_run(store, header_of(store, "R2"))[0], other.run)


def test_only_what_is_new_is_read() -> None:
    store = MemoryStore("n")
    leader = deployed(store)
    known = header_of(store, "R1").seq
    leader.tell(e.StepApproved("R1", "ask", approved=True))
    leader.go()
    events = run_events(store.log, header_of(store, "R1"), known)
    assert [event.type for event in events][:2] == ["workflow_step.approved", "workflow_step.readied"]
    assert all(event.seq > known for event in events)
    assert not run_events(store.log, header_of(store, "R1"), header_of(store, "R1").seq)


def test_the_reads_of_a_long_run_are_few_and_far_apart_ones_small() -> None:
    store = MemoryStore("n")
    leader = Leader(store, "R1", {"steps": [{"id": "a", "run": "x", "for_each": "y"}]}, items={"a": list(range(2000))})
    leader.go()
    reads: list[int] = []
    inner = store.log.entries

    def counted(after: int, count: int) -> Any:
        reads.append(count)
        return inner(after, count)

    store.log.entries = counted  # type: ignore[method-assign]
    header = header_of(store, "R1")
    reads.clear()
    assert len(run_events(store.log, header)) == 4003
    assert len(reads) < 40
    noise(store, 5000)
    leader = Leader(store, "R2", {"steps": [{"id": "a", "run": "x"}]})
    for _ in range(20):
        noise(store, 1000)
        leader.tell(e.WorkflowRunPaused("R2"))
    header = header_of(store, "R2")
    reads.clear()
    run_events(store.log, header)
    assert sum(reads) < 60


def test_a_restore_in_between_takes_away_what_it_undid_and_nothing_else(store: Store) -> None:
    leader = Leader(store, "R1", {"steps": [{"id": "a", "run": "x"}, {"id": "b", "run": "x", "needs": "a"}]})
    leader.go(lambda it: "a" in it.run.instances and it.run.instances["a"].ended)
    kept = store.log.head().seq
    leader.go(lambda it: "b" in it.run.working)
    restored = NewEvent("restore:x", e.RestoreDone("x", kept))
    stops = NewEvent("workflow-run:R1", e.WorkflowRunPaused("R1"))
    commit(store, restored, stops, NewEvent("state:k", e.StateSet("k", "v", None)), floors=True)
    commit(store, NewEvent("workflow-run:R1", e.WorkflowRunResumed("R1")))
    read, events = read_run(store, header_of(store, "R1"))
    assert [event.type for event in events][-3:] == [
        "workflow_step.ended",
        "workflow_run.paused",
        "workflow_run.resumed",
    ]
    assert (list(read.instances), list(read.ready), read.status) == (["a"], ["b"], "running")


def test_a_definition_may_lie_apart() -> None:
    store = MemoryStore("n")
    leader = Leader(store, "R0", DEPLOY)
    definition = leader.run.fact.definition
    assert isinstance(definition, str)
    apart = BlobRef(store.blobs.put(definition.encode()), len(definition))
    commit(store, NewEvent("workflow-run:R1", e.WorkflowRunStarted("R1", "deploy", 1, apart)))
    assert read_run(store, header_of(store, "R1"))[0].workflow == leader.workflow


def test_a_missing_event_is_told() -> None:
    store = MemoryStore("n")
    deployed(store)
    header = header_of(store, "R1")
    store.log.trim(header.seq - 4)
    with pytest.raises(VerificationFailed, match="is missing"):
        read_run(store, header)
