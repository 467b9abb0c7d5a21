"""A branch of a log: the history as it was, all that was open ended, and nothing that would begin anything."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from maestro.model import events as e
from maestro.model.errors import NotFound, Refused
from maestro.model.events import NewEvent
from maestro.model.forks.fork import SUBJECT, Branch, decide_branch, inherited
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from replayers import positions, rewind, sealer
from replayers.branch import Branching, Origin
from replayers.sealed import Segments
from replayers.verify import verify
from tests.projections.histories import commit, grow

ROOT = "/forks/two"


def branched(store: Store, position: int, target: Store, copied: dict[str, Any] | None = None) -> list[NewEvent]:
    branching, fold = Branching(store, position), rewind.folded(store, position)
    branch = Branch(store.namespace, target.namespace, position, ROOT)
    had = inherited(fold.rows_of, positions.time_of(store.log, position), "north", copied or {})
    events = decide_branch(branch, branching.end.chain, had)
    assert branching.load(target, events, Origin(store.now(), "cli:me", "cmd:fork")).seq == position + len(events)
    return events


@pytest.mark.parametrize("seed", [3, 17, 40])
def test_a_branch_of_any_history_at_any_position_is_whole_and_has_nothing_open(seed: int) -> None:
    store = MemoryStore("one")
    for _ in grow(store, Random(seed), 60, restores=True):
        pass
    head = store.log.head().seq
    for position in Random(seed).sample(range(1, head + 1), 8):
        target = MemoryStore("two")
        branched(store, position, target)
        assert verify(target).ok
        assert target.log.entries(0, position) == store.log.entries(0, position)
        assert rewind.folded(target, position).digests() == rewind.folded(store, position).digests()
        check_closed(target, position)


def check_closed(target: Store, position: int) -> None:
    end = target.log.head().seq
    rows = rewind.folded(target, end).rows_of
    assert not rows("queue") and not any(run.open for run in rows("workflow_runs").values())
    assert not any(schedule.enabled for schedule in rows("schedules").values())
    assert not any(firing.open for firing in rows("firings").values())
    assert not any(key.startswith("delivery:") for key in rows("deliveries"))
    assert all(row.disabled for row in rows("deliveries").values())
    assert all(restore.is_over for restore in rows("restores").values())
    assert {row.state for row in rows("snapshots").values() if not row.path} <= {"failed", "expired"}
    assert not any(node.status == "up" for node in rows("nodes").values())
    assert all(node.forgotten for node in rows("nodes").values() if node.id != "north")
    for agent in rows("agents").values():
        if hasattr(agent, "workspace"):
            assert agent.workspace in (None, f"{ROOT}/agents/{agent.id}") and not agent.run and agent.guard is None
    first = target.log.event(position + 1)
    assert first is not None and (first.type, first.subject) == ("log.branched", SUBJECT)


def test_a_schedule_of_a_workflow_and_a_stopped_agent_stay_off(store: Store) -> None:
    source = MemoryStore("source")
    commit(source, NewEvent("workflow:w", e.WorkflowStored("w", 1, "{}", "x", "d", "", 1)))
    commit(source, NewEvent("agent:a", e.AgentAssigned("a", "t", {"slug": "t"}, "/root", "/root/x", node="south")))
    commit(source, NewEvent("agent:a", e.AgentStopped("a", "a user wants it")))
    branched(source, 3, store)
    rows = rewind.folded(store, store.log.head().seq).rows_of
    (agent,) = rows("agents").values()
    assert (agent.stopped, agent.workspace, agent.node) == (True, f"{ROOT}/agents/a", "north")
    assert not rows("workflows")["w"].enabled


def test_keys_of_the_state_get_the_time_to_live_that_they_had_left(store: Store) -> None:
    source = MemoryStore("source")
    commit(source, NewEvent("state:brief", e.StateSet("brief", "1", 60_000)))
    branched(source, 1, store)
    (row,) = rewind.folded(store, store.log.head().seq).rows_of("state").values()
    event = store.log.event(store.log.head().seq)
    assert event is not None and row.expires_at == event.at + 60_000


def test_a_snapshot_that_was_being_taken_is_complete_where_the_fork_has_its_archive(store: Store) -> None:
    source = MemoryStore("source")
    commit(source, NewEvent("snapshot:s", e.SnapshotStarted("s", "asked", node="north")))
    commit(source, NewEvent("snapshot:s", e.SnapshotTaken("s", 1, reason="asked", manifest="ab", node="north")))
    complete = rewind.folded(source, 2).rows_of("snapshots")
    branched(source, 1, store, complete)
    (row,) = rewind.folded(store, store.log.head().seq).rows_of("snapshots").values()
    assert (row.state, row.position, row.manifest) == ("complete", 1, "ab")


def test_the_blobs_of_the_history_are_the_branchs_own(store: Store) -> None:
    source = MemoryStore("source")
    blob = e.BlobRef(source.blobs.put(b"a long text" * 1000), 11_000)
    commit(source, NewEvent("state:long", e.StateSet("long", blob)))
    later = e.BlobRef(source.blobs.put(b"another one" * 1000), 11_000)
    commit(source, NewEvent("state:later", e.StateSet("later", later)))
    branched(source, 1, store)
    source.blobs.collect(frozenset(), -1)
    assert store.blobs.get(blob.blob) == b"a long text" * 1000
    assert store.blobs.get(later.blob) is None


def test_a_history_of_which_the_store_holds_the_end_only_is_branched_whole(past: Store, sealed: Segments) -> None:
    whole = past.log.entries(0, 10_000)
    past.attach(sealed)
    for span in sealer.due(past, 0):
        fact = sealer.seal(past, sealed, span)
        commit(past, NewEvent(sealer.SUBJECT, fact, past.log.version(sealer.SUBJECT)))
        past.log.trim(fact.last + 1)
    assert past.log.first() > 40
    head, target = past.log.head().seq, MemoryStore("two")
    branched(past, head, target)
    assert target.log.entries(0, len(whole)) == whole and verify(target).ok
    blob = rewind.folded(target, head).rows_of("state")["long1"].value
    assert target.blobs.get(blob.blob) == b"a long text 1" * 100


def test_a_log_that_is_there_is_never_written_over(store: Store) -> None:
    source = MemoryStore("source")
    commit(source, NewEvent("state:a", e.StateSet("a", "1")))
    commit(store, NewEvent("state:b", e.StateSet("b", "1")))
    with pytest.raises(Refused):
        branched(source, 1, store)
    assert store.log.head().seq == 1
    with pytest.raises(NotFound):
        Branching(source, 2)
