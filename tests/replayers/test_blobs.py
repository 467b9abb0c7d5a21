"""The blobs that events name are found, in whichever field of whichever fact: a collection deletes all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from maestro.model.events import FACTS, BlobRef, NewEvent, StateSet
from maestro.store.codec import event_of
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from replayers import blobs
from tests.projections.histories import commit


def plain(kind: inspect.Type) -> Any:
    """A value of a type, the smallest."""
    match kind:
        case inspect.UnionType():
            return plain(next((one for one in kind.types if isinstance(one, inspect.StrType)), kind.types[0]))
        case inspect.StructType():
            return {field.encode_name: plain(field.type) for field in kind.fields if field.required}
        case inspect.ListType() | inspect.VarTupleType():
            return []
        case inspect.TupleType():
            return [plain(one) for one in kind.item_types]
        case inspect.DictType():
            return {}
        case inspect.StrType():
            return ""
        case inspect.BoolType():
            return False
        case inspect.NoneType() | inspect.AnyType():
            return None
        case inspect.LiteralType():
            return kind.values[0]
    return 0


def with_a_blob(kind: inspect.Type, blob: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a type that hold a blob in one place, for all places, each with its path."""
    match kind:
        case inspect.StructType() if kind.cls is BlobRef:
            yield path, blob
        case inspect.StructType():
            for field in kind.fields:
                for place, value in with_a_blob(field.type, blob, f"{path}.{field.name}"):
                    yield place, {**plain(kind), field.encode_name: value}
        case inspect.UnionType():
            for one in kind.types:
                yield from with_a_blob(one, blob, path)
        case inspect.DictType():
            yield from ((place, {"k": value}) for place, value in with_a_blob(kind.value_type, blob, f"{path}{{}}"))
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            yield from ((place, [value]) for place, value in with_a_blob(kind.item_type, blob, f"{path}[]"))
        case inspect.TupleType():
            for number, one in enumerate(kind.item_types):
                for place, value in with_a_blob(one, blob, f"{path}[{number}]"):
                    yield place, [plain(each) if each is not one else value for each in kind.item_types]


PLACES = [
    (name + place, msgspec.convert(value, fact), sha)
    for name, fact in FACTS.items()
    for sha in [f"{len(name):02x}" * 32]
    for place, value in with_a_blob(inspect.type_info(fact), {"blob": sha, "size": 70})
]


def test_the_places_are_those_that_are_known() -> None:
    places = {place for place, _, _ in PLACES}
    assert {
        "task.dispatched.prompt",
        "task.dispatched.brings{}",
        "run.ended.files{}",
        "state.set.value",
        "workflow.stored.source",
        "workflow_run.started.children",
        "workflow_run.started.reused{}.files{}",
        "workflow_step.ended.check",
    } <= places
    assert len(places) == len(PLACES) > 20


@pytest.mark.parametrize(("fact", "sha"), [pytest.param(fact, sha, id=place) for place, fact, sha in PLACES])
def test_a_blob_is_found_wherever_the_type_of_a_fact_has_one(fact: Any, sha: str) -> None:
    store = MemoryStore("blobs")
    commit(store, NewEvent("x:y", fact))
    assert blobs.named(store) == {sha}
    (entry,) = store.log.entries(0, 1)
    assert blobs.named_by(entry) == [sha]
    assert event_of(entry).fact == fact


def test_several_blobs_of_one_event_are_all_found() -> None:
    for name, fact in FACTS.items():
        info = inspect.type_info(fact)
        assert isinstance(info, inspect.StructType)
        whole: dict[str, Any] = plain(info)
        wanted = set()
        for number, field in enumerate(info.fields):
            sha = f"{number:064x}"
            for _, value in with_a_blob(field.type, {"blob": sha, "size": 70}):
                whole[field.encode_name] = value
                wanted.add(sha)
        store = MemoryStore(name)
        commit(store, NewEvent("x:y", msgspec.convert(whole, fact)))
        assert blobs.named(store) == wanted


def test_what_only_looks_like_a_blob_in_a_text_is_none_of_a_segment(store: Store) -> None:
    text = '{"a":{"blob":"../../etc/passwd","size":1}}'
    commit(store, NewEvent("state:a", StateSet("a", text)))
    (entry,) = store.log.entries(0, 1)
    assert blobs.named_by(entry) == []
