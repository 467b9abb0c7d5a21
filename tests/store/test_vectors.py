"""Shared vectors: what an append must leave in any store, and in any language that reads or writes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maestro.model.events import FACTS, NewEvent
from maestro.store.codec import chain_of, encode_append
from maestro.store.contract import Append, Committed, Entry, Rejected, Store

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())


def the_append(vector: dict[str, Any]) -> Append:
    events = [
        NewEvent(one["subject"], msgspec.json.decode(one["data"], type=FACTS[one["type"]]), one["expected"])
        for one in vector["events"]
    ]
    return Append(tuple(events), vector["actor"], vector["cause"], floors=vector.get("floors", False))


def the_entry(vector: dict[str, Any]) -> Entry:
    kept = {key: value if isinstance(value, int) or key == "chain" else value.encode() for key, value in vector.items()}
    return Entry(**kept)


def test_the_vectors_are_what_the_facts_encode_to() -> None:
    for vector in VECTORS["appends"]:
        encoded = encode_append(the_append(vector))
        assert isinstance(encoded, list)
        assert [(one.type, one.subject, one.data) for one in encoded] == [
            (one["type"], one["subject"], one["data"]) for one in vector["events"]
        ]


def test_the_chain_of_the_vectors_is_computed() -> None:
    chain = ""
    for vector in VECTORS["entries"]:
        chain = chain_of(chain, the_entry(vector))
        assert chain == vector["chain"]


@pytest.mark.parametrize("together", [False, True])
def test_a_store_keeps_the_vectors(store: Store, together: bool) -> None:
    appends = [the_append(vector) for vector in VECTORS["appends"]]
    groups = [appends] if together else [[append] for append in appends]
    results = [result for group in groups for result in store.log.commit(group, store.log.known())]
    for vector, result in zip(VECTORS["appends"], results, strict=True):
        wanted = vector["result"]
        if together and wanted.get("duplicate"):
            # An earlier try is never in the same group: one process has one batch in flight.
            wanted = {"rejected": "version", "subject": "state:api_port", "expected": 0, "actual": 3}
        if "rejected" in wanted:
            assert result == Rejected(wanted["rejected"], wanted["subject"], wanted["expected"], wanted["actual"])
        else:
            assert isinstance(result, Committed)
            expected = (wanted["first"], wanted["last"], wanted.get("duplicate", False))
            assert (result.first, result.last, result.duplicate) == expected
    chain = ""
    entries = store.log.entries(0, 100)
    for entry, vector in zip(entries, VECTORS["entries"], strict=True):
        assert msgspec.structs.replace(entry, at=0, chain="") == msgspec.structs.replace(
            the_entry(vector), at=0, chain=""
        )
        chain = chain_of(chain, entry)
        assert entry.chain == chain
