"""`replay verify`: whatever is altered in log or views is found, and its position named."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Event as Flag, Thread
from typing import Any

import msgspec
import pytest
import redis

from maestro.model import events as e
from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.store.contract import Checkpoint, RowChange, Store
from maestro.store.keys import Keys
from maestro.store.memory.memory_store import MemoryStore
from projections.projector import Projector
from replayers.verify import Verified, verify
from tests.projections.histories import commit, everything, fresh, grow


@pytest.fixture
def lived(store: Store) -> Store:
    """A store with a past, restores included, and its views."""
    for _ in grow(store, Random(5), 60, restores=True):
        pass
    for key in ("a", "b", "c"):
        commit(store, NewEvent(f"state:{key}", e.StateSet(key, "1")))
    Projector(store).catch_up()
    return store


def tamper(store: Store, *changes: RowChange) -> None:
    """Alter the live views behind everybody's back."""
    name = str(store.views.current())
    checkpoint = store.views.checkpoint(name)
    assert store.views.save(name, checkpoint, checkpoint, changes)


def first(result: Verified) -> tuple[int, str]:
    assert result.first is not None
    return result.first.position, result.first.what


def test_a_log_and_its_views_that_nobody_touched_are_proved(lived: Store) -> None:
    told: list[tuple[int, int]] = []
    result = verify(lived, lambda done, end: told.append((done, end)))
    head = lived.log.head()
    assert (result.ok, result.events, result.checkpoint.seq) == (True, head.seq, head.seq)
    assert result.digests == fresh(everything(lived)).digests()
    assert told[-1] == (head.seq, head.seq)
    assert result.first is None


def test_an_empty_log_is_proved(store: Store) -> None:
    assert verify(store).ok


def test_a_flipped_row_is_named_with_the_position_of_its_last_event(lived: Store) -> None:
    position = lived.log.head().seq - 1
    (data,) = lived.views.load(str(lived.views.current()), [("state", "b")])[1]
    assert data is not None
    tamper(lived, RowChange("state", "b", data.replace(b'"value":"1"', b'"value":"2"')))
    result = verify(lived)
    assert first(result) == (position, "row 'b' of state differs in value")
    assert not result.ok


def test_a_missing_row_and_one_too_many_are_named(lived: Store) -> None:
    tamper(lived, RowChange("state", "a", None, {}, ["all", "name"]), RowChange("nodes", "ghost", b"{}", {"all": 1}))
    result = verify(lived)
    assert first(result) == (lived.log.head().seq - 2, "row 'a' of state is missing")
    assert result.differences[-1].what == "row 'ghost' of nodes should not be there"


def test_a_missing_index_entry_is_named(lived: Store) -> None:
    tamper(
        lived,
        RowChange("state", "c", lived.views.load(str(lived.views.current()), [("state", "c")])[1][0], {}, ["name"]),
    )
    assert first(verify(lived)) == (
        lived.log.head().seq,
        "row 'c' stands at None in the index 'name' of state, not at 0",
    )


def test_bytes_that_are_no_row_are_named(lived: Store) -> None:
    tamper(lived, RowChange("state", "c", b"\x00{"))
    assert first(verify(lived)) == (lived.log.head().seq, "row 'c' of state differs in its bytes, which are no JSON")


def test_a_flipped_event_is_named_in_memory() -> None:
    store = MemoryStore("flipped")
    for _ in grow(store, Random(6), 80):
        pass
    place = store.log.head().seq
    commit(store, NewEvent("state:a", e.StateSet("a", "v")))
    Projector(store).catch_up()
    entries = store.log._entries
    entries[place] = msgspec.structs.replace(entries[place], data=entries[place].data.replace(b'"v"', b'"w"'))
    position, what = first(verify(store))
    assert position == place + 1
    assert "altered" in what


Alter = Callable[[list[Any]], None]


@pytest.fixture
def rewritten(
    server_kind: str, namespace: str, shared_server: Callable[[str], Any], open_at: Callable[..., Store]
) -> Callable[[Alter], Store]:
    """A store of three keys whose stream was altered: rewritten(alter) is given the entries as [id, [field, ...]]."""
    url = shared_server(server_kind).url
    store = open_at(url)
    for key in ("a", "b", "c"):
        commit(store, NewEvent(f"state:{key}", e.StateSet(key, "1")))
    Projector(store).catch_up()

    def rewrite(alter: Alter) -> Store:
        client = redis.Redis.from_url(url)
        log = Keys(namespace).log
        entries: list[Any] = client.execute_command("XRANGE", log, "-", "+", **{"NEVER_DECODE": True})
        entries = [[entry, [part for pair in fields.items() for part in pair]] for entry, fields in entries]
        alter(entries)
        client.delete(log)
        for entry, fields in entries:
            client.execute_command("XADD", log, entry, *fields)
        client.close()
        store.close()
        return open_at(url)

    return rewrite


def test_a_flipped_bit_of_an_event_is_named(rewritten: Callable[[Alter], Store]) -> None:
    def alter(entries: list[Any]) -> None:
        entries[1][1][15] = entries[1][1][15].replace(b'"1"', b'"3"')

    position, what = first(verify(rewritten(alter)))
    assert position == 2
    assert "altered" in what


def test_data_that_is_no_json_any_more_is_named(rewritten: Callable[[Alter], Store]) -> None:
    def alter(entries: list[Any]) -> None:
        entries[0][1][15] = b"{" + entries[0][1][15]

    assert first(verify(rewritten(alter)))[0] == 1


def test_a_missing_event_is_named(rewritten: Callable[[Alter], Store]) -> None:
    position, what = first(verify(rewritten(lambda entries: entries.pop(1))))
    assert position == 2
    assert what == "events 2 to 2 are missing"


def test_an_entry_of_another_layout_is_named(rewritten: Callable[[Alter], Store]) -> None:
    def alter(entries: list[Any]) -> None:
        entries[1][1][0] = b"kind"

    assert first(verify(rewritten(alter)))[0] == 2


def test_a_forged_link_is_named(rewritten: Callable[[Alter], Store]) -> None:
    def alter(entries: list[Any]) -> None:
        entries[2][1][11] = b"1"

    result = verify(rewritten(alter))
    assert {one.position for one in result.differences} == {3}
    assert any("follows version 1" in one.what for one in result.differences)


def test_views_of_a_later_build_are_not_judged(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    newer = "999-00000000.0.1"
    store.views.save(newer, Checkpoint(), Checkpoint(1, "", 1), [])
    assert store.views.switch(None, newer)
    with pytest.raises(Refused):
        verify(store)


def test_a_log_that_grows_meanwhile_is_proved_all_the_same(opened: Callable[[], Store]) -> None:
    store, other = opened(), opened()
    for _ in grow(store, Random(8), 60):
        pass
    done = Flag()

    def live() -> None:
        projector = Projector(other)
        for _ in grow(other, Random(9), 100_000):
            projector.catch_up()
            if done.wait(0.002):
                return

    busy = Thread(target=live)
    busy.start()
    try:
        for _ in range(3):
            result = verify(store)
            assert result.ok, result.differences[:3]
    finally:
        done.set()
        busy.join(30)
