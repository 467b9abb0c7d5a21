"""`audit`, `events tail|export|schema`: the log as a story, and for others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid, NotFound
from maestro.model.events import FACTS, NewEvent
from maestro.model.ids import run_id
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from replayers import audit
from replayers.audit import Query, StoryLine
from replayers.export import export
from replayers.groups import Group
from replayers.schema import schema
from tests.projections.histories import commit, everything, restore


def lines(store: Store, query: Query) -> Iterator[StoryLine]:
    """All pages."""
    while True:
        found, after = audit.page(store, query)
        yield from found
        if not found:
            return
        query = audit.further(query, after)


def seqs(found: Iterable[StoryLine]) -> list[int]:
    return [line.event.seq for line in found]


def dispatched(task: str, *needs: str) -> NewEvent:
    return NewEvent(f"task:{task}", e.TaskDispatched(task, "p", "p", ("a",), needs))


def run(task: str) -> Iterator[NewEvent]:
    name = run_id(task, 0, 1)
    yield NewEvent(f"run:{name}", e.RunReleased(name, task, 0, 1, "a", "n", 60.0, 1))
    yield NewEvent(f"run:{name}", e.RunStarted(name, task, "a", "n", "/f", "/w"))
    yield NewEvent(f"run:{name}", e.RunEnded(name, task, "a", "ok", 0))
    yield NewEvent(f"task:{task}", e.TaskFinished(task, "completed", "ok", 0))
    yield NewEvent(f"state:task:{task}:result", e.StateSet(f"task:{task}:result", "fine"))


@pytest.fixture
def told(store: Store) -> Store:
    """An agent (1), t1 (2) and t2 (3) which needs it; t1 runs (4..8), then t2 (9..13)."""
    commit(store, NewEvent("agent:a", e.AgentAssigned("a", "shell", {}, "/w")))
    commit(store, dispatched("t1"))
    commit(store, dispatched("t2", "t1"), cause="cmd:dispatch-t2")
    for event in run("t1"):
        commit(store, event)
    for event in run("t2"):
        commit(store, event, cause="7")
    return store


def test_a_task_s_story_has_its_runs_its_result_and_the_ends_that_it_waited_for(told: Store) -> None:
    assert seqs(lines(told, Query("t1"))) == [2, 4, 5, 6, 7, 8]
    assert seqs(lines(told, Query("task:t2"))) == [3, 7, 9, 10, 11, 12, 13]


def test_a_line_says_who_did_it_and_what_led_to_it(told: Store) -> None:
    first, needed, released, *_ = (audit.plain(line) for line in lines(told, Query("t2")))
    assert (first["actor"], first["cause"], first["because"]) == ("cli:test", "cmd:dispatch-t2", "")
    assert (needed["type"], needed["subject"]) == ("task.finished", "task:t1")
    assert (released["cause"], released["because"]) == ("7", "task.finished task:t1")
    assert released["data"]["agent"] == "a"
    assert released["time"].endswith("Z")
    msgspec.json.encode(released)


def test_a_story_can_begin_later_and_be_of_one_kind(told: Store) -> None:
    assert seqs(lines(told, Query("t1", since=5))) == [5, 6, 7, 8]
    assert seqs(lines(told, Query("t1", types=("run",)))) == [4, 5, 6]
    assert seqs(lines(told, Query("t1", types=("run.ended",)))) == [6]
    assert seqs(lines(told, Query(types=("task",)))) == [2, 3, 7, 12]
    assert seqs(lines(told, Query(types=("task", "run.ended")))) == [2, 3, 6, 7, 11, 12]
    assert seqs(lines(told, Query())) == list(range(1, 14))


def test_an_agent_s_story_has_the_tasks_that_name_it_and_its_runs(told: Store) -> None:
    assert seqs(lines(told, Query("a"))) == [1, 2, 3, 4, 5, 6, 9, 10, 11]
    assert seqs(lines(told, Query("t1-0.1"))) == [4, 5, 6]
    assert seqs(lines(told, Query("state:task:t1:result"))) == [8]


def test_a_story_goes_on_where_it_was_left(told: Store) -> None:
    query = Query("t1")
    _, after = audit.page(told, query)
    query = audit.further(query, after)
    assert audit.page(told, query)[0] == []
    seq = commit(told, NewEvent("task:t1", e.TaskRetried("t1"))).first
    assert seqs(audit.page(told, query)[0]) == [seq]


def test_what_a_restore_undid_stays_part_of_the_story(told: Store) -> None:
    cut = restore(told, 2)
    retried = commit(told, NewEvent("task:t1", e.TaskCancelRequested("t1"))).first
    assert retried > cut
    assert seqs(lines(told, Query("t1"))) == [2, 4, 5, 6, 7, 8, retried]
    assert seqs(lines(told, Query("task:t2"))) == [3, 9, 10, 11, 12, 13]


def test_each_kind_of_subject_can_be_asked_for() -> None:
    table = (Path(__file__).parents[2] / "maestro/docs/events.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+):", table, re.MULTILINE)) == audit.KINDS


def test_the_places_of_all_workspaces_have_a_story(told: Store) -> None:
    claimed = commit(told, NewEvent("workspaces:all", e.WorkspaceClaimed("a", "/w", "/w/a", "n"))).first
    assert seqs(lines(told, Query("workspaces:all"))) == [claimed]


@pytest.mark.parametrize("subject", ["nobody", "task:nobody", "agent:", "x\ny", "t9-0.1"])
def test_what_was_never_heard_of_is_not_found(told: Store, subject: str) -> None:
    with pytest.raises(NotFound):
        audit.page(told, Query(subject))


def test_an_export_has_a_line_for_each_event_as_it_is_stored(told: Store) -> None:
    exported = [msgspec.json.decode(line) for line in export(told)]
    assert [line["seq"] for line in exported] == list(range(1, 14))
    assert exported[1]["data"] == {"task": "t1", "prompt": "p", "title": "p", "targets": ["a"]}
    entry = told.log.entries(1, 1)[0]
    assert (exported[1]["chain"], exported[1]["at"], exported[1]["prev"]) == (entry.chain, entry.at, 0)
    assert [msgspec.json.decode(line)["seq"] for line in export(told, 5, 7)] == [5, 6, 7]
    assert list(export(told, 14)) == []


def test_an_export_can_be_cloudevents(told: Store) -> None:
    event = msgspec.json.decode(next(export(told, 2, cloudevents=True)))
    required = {name: event[name] for name in ("specversion", "id", "source", "type")}
    assert required == {
        "specversion": "1.0",
        "id": "2",
        "source": f"/maestro/{told.namespace}",
        "type": "maestro.task.dispatched",
    }
    assert event["subject"] == "task:t1"
    assert event["data"]["title"] == "p"
    extensions = set(event) - {"data"}
    assert all(name.isascii() and name.isalnum() and name == name.lower() for name in extensions)
    assert all(isinstance(event[name], str) for name in extensions)


def test_damaged_data_is_exported_as_the_bytes_that_it_is() -> None:
    store = MemoryStore("damaged")
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    store.log._entries[0] = msgspec.structs.replace(store.log._entries[0], data=b'{"key')
    assert msgspec.json.decode(next(export(store)))["data_base64"] == "eyJrZXk="


def test_the_schema_names_every_fact_and_its_fields() -> None:
    document: dict[str, Any] = schema()
    rules = [(rule["if"]["properties"]["type"]["const"], rule["then"]["properties"]) for rule in document["allOf"]]
    named = {name: then["data"] for name, then in rules}
    assert set(named) == set(FACTS)
    for name, fact in FACTS.items():
        definition = document["$defs"][named[name]["$ref"].rpartition("/")[2]]
        assert set(definition["properties"]) == {field.name for field in msgspec.structs.fields(fact)}
    assert msgspec.json.encode(document)


def test_the_schema_s_fields_are_those_of_an_exported_entry(told: Store) -> None:
    exported = msgspec.json.decode(next(export(told)))
    assert set(schema()["properties"]) == set(exported) - {"seq", "time"}


def test_a_group_goes_on_behind_what_it_has_taken(told: Store) -> None:
    group = Group(told, "billing")
    events = group.read(4)
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [event.seq for event in Group(told, "billing").read(2)] == [1, 2], "not taken: seen again"
    group.taken(4)
    assert [event.seq for event in Group(told, "billing").read(2)] == [5, 6]
    assert [event.seq for event in Group(told, "billing", start=12).read(2)] == [5, 6], "a known group keeps its place"
    assert [event.seq for event in Group(told, "other", start=12).read(9)] == [13]
    assert Group(told, "other", start=13).read(9, block_ms=1) == []
    assert len(everything(told)) == 13


def test_a_group_needs_a_name_that_can_be_one(told: Store) -> None:
    with pytest.raises(Invalid):
        Group(told, "a b")
