"""A log that was trimmed, and one that was filled, on every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import current_thread

import pytest
import trio

from maestro.model.errors import LineageBroken, Refused, VerificationFailed
from maestro.model.events import NewEvent, RestoreDone, StateSet
from maestro.store.codec import event_of
from maestro.store.contract import Append, Committed, Entry, Head, Rejected, Store
from maestro.store.gateway import Gateway
from maestro.store.redis.redis_store import RedisStore

Appending = Callable[..., Append]
COUNT = 25


class Past:
    """Sealed history, from a list."""

    def __init__(self, entries: Sequence[Entry], blobs: dict[str, bytes] | None = None) -> None:
        self.entries = entries
        self.blobs = blobs or {}

    def before(self, following: Entry, after: int, count: int) -> list[Entry]:
        return list(self.entries[after : min(after + count, following.seq - 1)])

    def scan(self, following: Entry, after: int, upto: int, chunk: int) -> Iterator[list[Entry]]:
        assert upto < following.seq
        for start in range(after, upto, chunk):
            yield list(self.entries[start : min(start + chunk, upto)])

    def blob(self, sha256: str) -> bytes | None:
        return self.blobs.get(sha256)


@pytest.fixture
def written(store: Store, an_append: Appending) -> list[Entry]:
    """What a store of COUNT events over five keys holds."""
    store.log.commit([an_append(f"k{n % 5}", str(n), cause=f"c{n}") for n in range(COUNT)], None)
    return store.log.entries(0, COUNT)


@pytest.fixture
def trimmed(store: Store, written: list[Entry]) -> Store:
    """The same, with all before 21 sealed and trimmed."""
    store.attach(Past(written))
    store.log.trim(21)
    return store


def test_what_was_sealed_is_read_beside_the_thread_of_trio(store: Store, written: list[Entry]) -> None:
    class Watched(Past):
        def before(self, following: Entry, after: int, count: int) -> list[Entry]:
            threads.append(current_thread())
            return super().before(following, after, count)

    async def play() -> tuple[list[int], int]:
        async with Gateway(store) as gateway:
            event = await gateway.ask(store.log.event, 3)
            assert event is not None
            read = await gateway.ask(store.log.read, 18, 4)
            followed = await gateway.wait(store.log.follow, 5, 2, 100)
            asked = len(threads)
            held = await gateway.ask(store.log.event, 22)
            assert held is not None and len(threads) == asked, "what the store holds is not looked for elsewhere"
            return [event.seq, *(event.seq for event in (*read, *followed))], held.seq

    threads: list[object] = []
    store.attach(Watched(written))
    store.log.trim(21)
    assert trio.run(play) == ([3, 19, 20, 21, 22, 6, 7], 22)
    assert len(threads) == 3 and current_thread() not in threads


def test_a_new_log_holds_nothing_and_a_full_one_all(store: Store, an_append: Appending) -> None:
    assert store.log.first() == 0
    store.log.commit([an_append("a", "1", 0), an_append("a", "2", 1)], None)
    assert store.log.first() == 1


def test_a_log_that_lost_nothing_has_nothing_to_mend(trimmed: Store) -> None:
    assert trimmed.log.mend() == ""
    assert trimmed.log.version("state:k0") == 21


def test_a_trimmed_log_that_lost_its_versions_has_them_from_what_is_sealed(written: list[Entry], store: Store) -> None:
    if not isinstance(store, RedisStore):  # in memory they are one
        return
    store.attach(Past(written))
    store.log.trim(24)
    store._pool.call("DEL", store._keys.versions)
    assert store.log.mend() != ""
    assert [store.log.version(f"state:k{n}") for n in range(5)] == [21, 22, 23, 24, 25]


def test_a_trimmed_log_holds_the_rest(trimmed: Store, written: list[Entry]) -> None:
    assert trimmed.log.first() == 21
    assert trimmed.log.head() == Head(COUNT, written[-1].chain, written[-1].at, 0)


def test_the_last_event_is_never_trimmed(store: Store, written: list[Entry]) -> None:
    store.log.trim(1000)
    assert store.log.first() == store.log.head().seq == COUNT


def test_trimming_again_or_further_back_changes_nothing(trimmed: Store) -> None:
    trimmed.log.trim(21)
    trimmed.log.trim(3)
    assert trimmed.log.first() == 21


@pytest.mark.parametrize(("after", "count"), [(0, 100), (0, 20), (0, 5), (18, 4), (19, 1), (20, 5), (22, 9), (25, 9)])
def test_readers_see_one_log(trimmed: Store, written: list[Entry], after: int, count: int) -> None:
    events = [event_of(entry) for entry in written]
    assert trimmed.log.entries(after, count) == written[after : after + count]
    assert trimmed.log.read(after, count) == events[after : after + count]
    assert trimmed.log.follow(after, count, 1) == events[after : after + count]


@pytest.mark.parametrize(("after", "upto"), [(0, 25), (0, 20), (3, 11), (18, 23), (20, 25), (25, 25)])
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_a_scan_sees_one_log(trimmed: Store, written: list[Entry], after: int, upto: int, chunk: int) -> None:
    lists = list(trimmed.log.scan(after, upto, chunk))
    assert [event for events in lists for event in events] == [event_of(entry) for entry in written[after:upto]]
    assert all(0 < len(events) <= chunk for events in lists)


def test_a_scan_goes_on_where_the_log_is_trimmed_under_it(store: Store, written: list[Entry]) -> None:
    store.attach(Past(written))
    found = []
    for events in store.log.scan(0, COUNT, 3):
        found += events
        store.log.trim(21)
    assert found == [event_of(entry) for entry in written]


def test_single_events_are_found_on_both_sides(trimmed: Store, written: list[Entry]) -> None:
    for seq in (1, 20, 21, 25):
        assert trimmed.log.event(seq) == event_of(written[seq - 1])
    assert trimmed.log.event(0) is None
    assert trimmed.log.event(COUNT + 1) is None


def test_appends_go_on_at_their_versions(trimmed: Store, an_append: Appending) -> None:
    assert trimmed.log.version("state:k0") == 21
    [first, second] = trimmed.log.commit([an_append("k0", "x", 21), an_append("k1", "y", 2)], trimmed.log.known())
    assert isinstance(first, Committed) and first.first == COUNT + 1
    assert second == Rejected("version", "state:k1", 2, 22)
    assert [event.prev for event in trimmed.log.read(COUNT, 1)] == [21]


def test_who_knew_a_position_that_is_trimmed_now_may_go_on(opened: Callable[[], Store], an_append: Appending) -> None:
    store, other = opened(), opened()
    store.log.commit([an_append("a", str(n)) for n in range(3)], None)
    known = other.log.head()
    store.log.commit([an_append("b", str(n)) for n in range(9)], None)
    store.log.trim(8)
    [result] = other.log.commit([an_append("c", "1", 0)], known)
    assert isinstance(result, Committed)
    with pytest.raises(LineageBroken):
        other.log.commit([an_append("c", "2", 13)], Head(13, "0" * 40, 1, 0))


def test_a_blob_that_only_the_past_names_is_read_from_there(store: Store) -> None:
    store.attach(Past([], {"ab" * 32: b"long ago"}))
    here = store.blobs.put(b"here")
    assert store.blobs.get("ab" * 32) == b"long ago"
    assert store.blobs.get(here) == b"here"
    assert store.blobs.get("cd" * 32) is None


# ---- filling an empty log ----


@pytest.fixture
def other(an_append: Appending) -> list[Entry]:
    """The log of another store, restored once, with events in the append of the restore."""
    from maestro.store.memory.memory_store import MemoryStore

    store = MemoryStore("other")
    store.log.commit([an_append(f"k{n % 5}", str(n)) for n in range(9)], None)
    done = NewEvent("restore:r", RestoreDone("r", 4))
    store.log.commit([Append((done, NewEvent("state:k1", StateSet("k1", "end"))), "me", "cmd:r", floors=True)], None)
    store.log.commit([an_append("k2", "after")], None)
    return store.log.entries(0, 100)


def test_a_filled_log_is_the_one_it_was_filled_from(store: Store, other: list[Entry], an_append: Appending) -> None:
    head = store.log.load([other[:5], other[5:]])
    assert head == store.log.head() == Head(12, other[-1].chain, other[-1].at, 11)
    assert store.log.entries(0, 100) == other
    assert [store.log.version(f"state:k{n}") for n in (1, 2, 3)] == [11, 12, 11]
    [result] = store.log.commit(
        [
            an_append("k2", "next", 12),
        ],
        head,
    )
    assert isinstance(result, Committed) and result.first == 13
    assert store.log.commit([an_append("k0", "new", 0)], None) == [Rejected("version", "state:k0", 0, 11)]


def test_a_log_that_ends_with_a_restore_is_filled_with_its_floor(store: Store, other: list[Entry]) -> None:
    assert store.log.load([other[:11]]).floor == store.log.version("state:k1") == 11


def test_a_log_that_is_not_empty_is_not_filled(store: Store, written: list[Entry], other: list[Entry]) -> None:
    with pytest.raises(Refused):
        store.log.load([other])
    assert store.log.entries(0, 100) == written


@pytest.mark.parametrize("place", [0, 6, 11])
def test_entries_that_do_not_follow_each_other_fill_nothing(store: Store, other: list[Entry], place: int) -> None:
    with pytest.raises(VerificationFailed):
        store.log.load([other[:place], other[place + 1 :], other[:1]])
    assert store.log.head() == Head()


def test_a_load_that_broke_off_left_nothing_and_is_done_anew(store: Store, other: list[Entry]) -> None:
    def parts() -> Iterator[list[Entry]]:
        yield other[:4]
        assert store.log.head() == Head()
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        store.log.load(parts())
    assert store.log.head() == Head()
    assert store.log.load([other]).seq == 12


def test_nothing_fills_nothing(store: Store) -> None:
    assert store.log.load([]) == store.log.head() == Head()


def test_of_two_loads_at_once_one_is_refused(opened: Callable[[], Store], other: list[Entry]) -> None:
    store, second = opened(), opened()

    def parts() -> Iterator[list[Entry]]:
        yield other[:4]
        second.log.load([other])
        yield other[4:]

    with pytest.raises(Refused):
        store.log.load(parts())
    assert store.log.entries(0, 100) == other
