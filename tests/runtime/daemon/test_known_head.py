"""The witness: a log that lost its tail between two lives of a daemon is noticed, and goes on once that is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro.config import Settings, load, open_home
from maestro.model.errors import LineageBroken
from maestro.model.events import LogForked, NewEvent, StateSet
from maestro.runtime.node.known_head import LINEAGE, KnownHead, erased
from maestro.store.contract import Append, Store
from maestro.store.memory.memory_store import MemoryStore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load({"HOME": str(tmp_path), "MAESTRO_HOME": str(tmp_path / "home")})
    open_home(found)
    return found


def store_with(*values: str) -> Store:
    """A log with a state set to each value in turn."""
    store = MemoryStore("default")
    for number, value in enumerate(values):
        append(store, NewEvent("state:k", StateSet("k", value)), f"cmd:{number}:{value}")
    return store


def append(store: Store, event: NewEvent, cause: str) -> None:
    store.log.commit([Append((event,), "test", cause)], None)


def test_a_witness_that_knows_nothing_accepts_any_log(settings: Settings) -> None:
    KnownHead(settings).check(store_with("a"))


def test_the_log_that_was_known_is_accepted_when_it_has_grown(settings: Settings) -> None:
    store = store_with("a")
    KnownHead(settings).note(store.log.head())
    append(store, NewEvent("state:k", StateSet("k", "b")), "cmd:more")
    KnownHead(settings).check(store)


def test_a_log_that_ends_earlier_is_refused(settings: Settings) -> None:
    KnownHead(settings).note(store_with("a", "b").log.head())
    with pytest.raises(LineageBroken, match="ends at 1, but 2 was known"):
        KnownHead(settings).check(store_with("a"))


def test_another_history_of_the_same_length_is_refused(settings: Settings) -> None:
    KnownHead(settings).note(store_with("a", "b").log.head())
    with pytest.raises(LineageBroken, match="position 2 holds another event"):
        KnownHead(settings).check(store_with("a", "other"))


def test_what_an_operator_accepted_is_not_asked_again(settings: Settings) -> None:
    known = store_with("a", "b").log.head()
    KnownHead(settings).note(known)
    store = store_with("a")
    append(store, NewEvent(LINEAGE, LogForked(known.seq, known.chain)), "cmd:accept")
    KnownHead(settings).check(store)
    assert KnownHead(settings).known().seq == 0


def test_an_acceptance_of_less_than_was_known_does_not_count(settings: Settings) -> None:
    KnownHead(settings).note(store_with("a", "b", "c").log.head())
    store = store_with("a")
    append(store, NewEvent(LINEAGE, LogForked(2, "")), "cmd:accept")
    with pytest.raises(LineageBroken):
        KnownHead(settings).check(store)


def test_what_is_known_never_goes_back_but_can_be_forgotten(settings: Settings) -> None:
    store = store_with("a", "b")
    KnownHead(settings).note(store.log.head())
    KnownHead(settings).note(store_with("a").log.head())
    assert KnownHead(settings).known().seq == 2
    KnownHead(settings).forget()
    KnownHead(settings).check(store_with())


def test_each_store_and_namespace_is_known_by_itself(settings: Settings, tmp_path: Path) -> None:
    KnownHead(settings).note(store_with("a", "b").log.head())
    env = {"HOME": str(tmp_path), "MAESTRO_HOME": str(tmp_path / "home"), "MAESTRO_NAMESPACE": "other"}
    KnownHead(load(env)).check(store_with("a"))


def test_a_damaged_file_counts_as_nothing_known(settings: Settings) -> None:
    KnownHead(settings).note(store_with("a", "b").log.head())
    (file,) = (settings.home / "known").iterdir()
    file.write_bytes(b"{")
    KnownHead(settings).check(store_with("a"))


def erased_after(*values: str, known: Store | None = None) -> Store:
    """The log that follows one which was erased on purpose."""
    store = MemoryStore("default")
    append(store, NewEvent(LINEAGE, erased(known or store_with(*values), "redis flush")), "cmd:flush")
    return store


def without_its_tail(store: Store) -> Store:
    """The same log, of which all but the first event is gone."""
    left = MemoryStore("default")
    left.log.load([store.log.entries(0, 1)])
    return left


def test_a_log_that_was_erased_on_purpose_is_no_loss(settings: Settings) -> None:
    KnownHead(settings).note(store_with("a", "b", "c").log.head())
    KnownHead(settings).check(erased_after("a", "b", "c"))


def test_what_others_append_until_it_is_erased_is_no_loss_either(settings: Settings) -> None:
    KnownHead(settings).note(store_with(*"abcdefg").log.head())
    KnownHead(settings).check(erased_after(*"abc"))


def test_a_daemon_that_ends_behind_an_erasure_keeps_nothing_of_the_log_that_is_gone(settings: Settings) -> None:
    ending, old = KnownHead(settings), store_with(*"abcdefg")
    ending.check(old)
    ending.note(store_with("a", "b").log.head())
    new = erased_after(*"abcdefg")
    KnownHead(settings).check(new)
    ending.follow(old)
    KnownHead(settings).check(new)


def test_what_was_accepted_or_erased_once_accepts_no_later_loss(settings: Settings) -> None:
    KnownHead(settings).note(store_with(*"abcdef").log.head())
    store = erased_after(*"abcdef")
    KnownHead(settings).check(store)
    append(store, NewEvent("state:k", StateSet("k", "new")), "cmd:new")
    KnownHead(settings).note(store.log.head())
    with pytest.raises(LineageBroken, match="the log ends at 1, but 2 was known"):
        KnownHead(settings).check(without_its_tail(store))


def test_an_installation_that_joins_behind_it_has_met_it_too(settings: Settings) -> None:
    store = erased_after(*"abcdef")
    KnownHead(settings).check(store)
    append(store, NewEvent("state:k", StateSet("k", "new")), "cmd:new")
    KnownHead(settings).note(store.log.head())
    with pytest.raises(LineageBroken):
        KnownHead(settings).check(without_its_tail(store))


def test_who_was_away_for_two_erasures_goes_on_as_well(settings: Settings) -> None:
    KnownHead(settings).note(store_with(*"abcdef").log.head())
    KnownHead(settings).check(erased_after(known=erased_after(*"abcdef")))
