"""Versions that a log has forgotten: who has not read up to the horizon makes nothing anew, in any store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from maestro.model.events import NewEvent, StateSet
from maestro.store.contract import Append, AppendResult, Committed, Rejected, Store
from maestro.store.keys import FLOOR, HORIZON
from maestro.store.memory.memory_store import MemoryStore


def put(store: Store, key: str, expected: int | None = 0, **options: Any) -> AppendResult:
    event = NewEvent(f"state:{key}", StateSet(key, "1"), expected)
    cause = options.pop("cause", f"cmd:{key}:{store.log.head().seq}")
    return store.log.commit([Append((event,), "tester", cause, **options)], None)[0]


def test_what_was_forgotten_is_not_made_anew_by_who_read_too_little(store: Store) -> None:
    for key in "abc":
        assert isinstance(put(store, key), Committed)
    assert store.log.forget({"state:a": 1, "state:b": 1, "state:never": 3}, 2) == 1
    assert store.log.versions() == {FLOOR: 0, HORIZON: 2, "state:b": 2, "state:c": 3}
    assert put(store, "a", read_at=1) == Rejected("sealed", "state:a", 0, 0)
    assert put(store, "new", read_at=1) == Rejected("sealed", "state:new", 0, 0)
    assert put(store, "c", 3, read_at=1) == Committed(4, 4, store.log.head().at)
    assert put(store, "a", 1) == Rejected("sealed", "state:a", 1, 0)
    assert put(store, "b", 1) == Rejected("version", "state:b", 1, 2)
    assert put(store, "nobody", 4) == Rejected("version", "state:nobody", 4, 0)
    assert isinstance(put(store, "new", read_at=2), Committed)


def test_an_append_that_is_sent_again_after_its_subject_was_forgotten_is_not_made_twice(store: Store) -> None:
    assert isinstance(put(store, "a", cause="cmd:1"), Committed)
    put(store, "b")
    store.log.forget({"state:a": 1}, 1)
    assert put(store, "a", cause="cmd:1", resend=True, since=0) == Rejected("sealed", "state:a", 0, 0)
    assert store.log.head().seq == 2


def test_a_restore_keeps_the_horizon(store: Store) -> None:
    put(store, "a")
    put(store, "b")
    store.log.forget({"state:a": 1}, 1)
    assert put(store, "r", None, floors=True) == Committed(3, 3, store.log.head().at)
    assert store.log.versions() == {FLOOR: 3, HORIZON: 1}
    assert put(store, "a", 3, read_at=0) == Rejected("sealed", "state:a", 3, 3)
    assert isinstance(put(store, "a", 3, read_at=3), Committed)


def test_nothing_is_forgotten_of_an_empty_log(store: Store) -> None:
    assert store.log.forget({"state:a": 1}, 1) == 0
    assert store.log.versions() == {}
    assert store.log.head().seq == 0


STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abc"), st.none() | st.integers(0, 6), st.integers(-1, 6), st.booleans()),
    st.tuples(st.just("forget"), st.sampled_from("abc"), st.integers(0, 6), st.integers(0, 6), st.booleans()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_all_stores_answer_alike(store: Store, steps: list[Any]) -> None:
    store.erase()
    reference = MemoryStore("reference")

    def answers(of: Store) -> list[Any]:
        found: list[Any] = []
        for kind, key, number, other, flag in steps:
            if kind == "forget":
                found.append(of.log.forget({f"state:{key}": number}, min(other, of.log.head().seq)))
                continue
            since = {"resend": True, "since": max(0, other)} if flag else {}
            result = put(of, key, number, read_at=other, floors=flag and number is None, cause=f"c{key}", **since)
            found.append((result.first, result.duplicate) if isinstance(result, Committed) else result)
        return [*found, of.log.versions()]

    assert answers(store) == answers(reference)


def test_a_repaired_log_has_forgotten_what_it_had_forgotten(opened: Callable[[], Store], store: Store) -> None:
    for key in "abcd":
        put(store, key)
    store.log.forget({"state:a": 1, "state:b": 2}, 2)
    held = store.log.versions()
    assert store.log.mend() == ""
    assert opened().log.versions() == held
