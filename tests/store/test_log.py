"""What a log promises, on every store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from maestro.model.errors import LineageBroken
from maestro.model.events import NewEvent, RestoreDone, RunReleased, StateDeleted, StateSet, Unrecognised
from maestro.store.codec import chain_of
from maestro.store.contract import Append, Committed, Fence, Head, Hint, Rejected, Store

Appending = Callable[..., Append]


def commit(store: Store, *group: Append) -> list[Committed | Rejected]:
    return store.log.commit(group, store.log.known())


def test_a_new_log_is_empty(store: Store) -> None:
    assert store.log.head() == Head()
    assert store.log.read(0, 10) == []
    assert store.log.event(1) is None
    assert store.log.version("state:a") == 0


def test_events_come_back_in_order_with_their_place(store: Store, an_append: Appending) -> None:
    [first, second] = commit(store, an_append("a", "1", 0), an_append("a", "2", 1))
    assert (first, second) == (Committed(1, 1, first.at), Committed(2, 2, first.at))
    events = store.log.read(0, 10)
    assert [(e.seq, e.subject, e.prev, e.type, e.actor, e.cause) for e in events] == [
        (1, "state:a", 0, "state.set", "tester", "cmd:a:1"),
        (2, "state:a", 1, "state.set", "tester", "cmd:a:2"),
    ]
    assert [e.fact for e in events] == [StateSet("a", "1"), StateSet("a", "2")]
    assert store.log.read(1, 10) == events[1:] == [store.log.event(2)]
    assert store.log.head().seq == store.log.version("state:a") == 2


def test_positions_have_no_gap_where_appends_were_rejected(store: Store, an_append: Appending) -> None:
    results = commit(store, an_append("a", "1", 0), an_append("a", "2", 0), an_append("b", "1", 0))
    assert results[1] == Rejected("version", "state:a", 0, 1)
    assert [e.seq for e in store.log.read(0, 10)] == [1, 2]


def test_an_append_enters_whole_or_not_at_all(store: Store, an_append: Appending) -> None:
    commit(store, an_append("b", "1", 0))
    two = an_append("a", "1", 0, more=(NewEvent("state:b", StateDeleted("b"), 0),))
    assert commit(store, two) == [Rejected("version", "state:b", 0, 1)]
    assert store.log.version("state:a") == 0
    assert store.log.head().seq == 1


def test_what_follows_in_an_append_has_its_own_actor_and_the_event_before_as_its_cause(
    store: Store, an_append: Appending
) -> None:
    commit(store, an_append("z", "1", 0))
    more = (NewEvent("state:b", StateSet("b", "x"), 0), NewEvent("state:c", StateSet("c", "x")))
    append = msgspec.structs.replace(an_append("a", "1", 0, more=more), follows=("second", "third é"))
    [result] = commit(store, append)
    assert isinstance(result, Committed)
    assert [(e.seq, e.actor, e.cause) for e in store.log.read(1, 10)] == [
        (2, "tester", "cmd:a:1"), (3, "second", "2"), (4, "third é", "3"),
    ]  # fmt: skip
    entries = store.log.entries(0, 10)
    assert [chain_of(before.chain, entry) for before, entry in pairwise(entries)] == [e.chain for e in entries[1:]]
    again = msgspec.structs.replace(append, resend=True, since=1)
    assert commit(store, again) == [Committed(2, 4, result.at, duplicate=True)]


def test_no_append_is_nothing_but_what_follows(store: Store, an_append: Appending) -> None:
    append = msgspec.structs.replace(an_append("a", "1", 0), follows=("nobody",))
    assert commit(store, append) == [Rejected("bad", "state:a")]


def test_events_of_one_append_follow_each_other(store: Store, an_append: Appending) -> None:
    more = (NewEvent("state:a", StateDeleted("a")), NewEvent("state:b", StateSet("b", "x"), 0))
    [result] = commit(store, an_append("a", "1", 0, more=more))
    assert (result.first, result.last) == (1, 3)
    assert [(e.subject, e.prev) for e in store.log.read(0, 10)] == [("state:a", 0), ("state:a", 1), ("state:b", 0)]


def test_the_chain_is_what_its_definition_says(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0), an_append("b", "ünï", None))
    commit(store, an_append("a", "2", 1))
    chain = ""
    for entry in store.log.entries(0, 10):
        assert entry.chain == chain_of(chain, entry)
        chain = entry.chain
    assert store.log.head().chain == chain


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\0\x01\x7f", "é 漢字 🦊 \u202e", '"\\', "x" * 100_000, "\r\n$5\r\nhello\r\n"]
)
def test_any_text_survives(store: Store, an_append: Appending, text: str) -> None:
    commit(store, an_append("a", text, 0, actor=text[:99], cause=f"c{text[:99]}"))
    event = store.log.read(0, 1)[0]
    assert (event.fact, event.actor, event.cause) == (StateSet("a", text), text[:99], f"c{text[:99]}")
    entry = store.log.entries(0, 1)[0]
    assert chain_of("", entry) == entry.chain


def test_what_cannot_be_stored_does_not_hurt_its_neighbours(store: Store, an_append: Appending) -> None:
    bad = [
        Append((), "a", "c"),
        an_append("\ud800", "1"),
        an_append("x" * 2000, "1"),
        an_append("m", "1", -1),
        an_append("h", "1", hints=(Hint("n", "r", 1),)),
        Append((NewEvent("state:u", Unrecognised("later.fact", 1, b"{}")),), "a", "c"),
    ]
    results = commit(store, an_append("a", "1", 0), *bad, an_append("b", "1", 0))
    assert [r.reason for r in results[1:-1] if isinstance(r, Rejected)] == ["bad"] * len(bad)
    assert [r.first for r in results if isinstance(r, Committed)] == [1, 2]
    assert commit(store, *bad[:1]) == [Rejected("bad")]


def test_a_lease_fences_an_append(store: Store, an_append: Appending) -> None:
    store.work.lease_take("scheduler", "me", 60_000)
    results = commit(
        store,
        an_append("a", "1", 0, fence=Fence("scheduler", "other")),
        an_append("b", "1", 0, fence=Fence("scheduler", "me")),
        an_append("c", "1", 0, fence=Fence("nobody's", "me")),
    )
    assert results[0] == Rejected("fence", "state:a")
    assert isinstance(results[1], Committed)
    assert results[2] == Rejected("fence", "state:c")
    assert store.log.head().seq == 1


def test_hints_are_put_with_their_append_and_carry_its_position(store: Store, an_append: Appending) -> None:
    released = NewEvent("run:r", RunReleased("r", "t", 0, 1, "a", "n", 9.0, 5), 0)
    hints = (Hint("n", "r", 1), Hint("", "old", -1, 9007199254740001))
    commit(store, an_append("a", "1", 0, more=(released,), hints=hints))
    commit(store, an_append("a", "2", 0, hints=hints))
    assert store.work.pending("n") == [("r", "", 2)]
    assert store.work.pending("") == [("old", "", 9007199254740001)]


def test_unknown_events_come_as_they_are(store: Store, an_append: Appending, monkeypatch: pytest.MonkeyPatch) -> None:
    from maestro.store import codec

    monkeypatch.setitem(codec.NAMES, StateSet, "state.invented")
    monkeypatch.setitem(codec.VERSIONS, "state.deleted", 2)
    commit(store, an_append("a", "1", more=(NewEvent("state:a", StateDeleted("a")),)))
    monkeypatch.undo()
    codec._decoders.clear()
    first, second = (event.fact for event in store.log.read(0, 10))
    assert first == Unrecognised("state.invented", 1, b'{"key":"a","value":"1"}')
    assert second == Unrecognised("state.deleted", 2, b'{"key":"a"}')


def test_old_versions_are_upcast_one_step_at_a_time(
    store: Store, an_append: Appending, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maestro.store import codec

    commit(store, an_append("a", "1"))
    monkeypatch.setattr(codec, "_decoders", {})
    monkeypatch.setitem(codec.VERSIONS, "state.set", 3)
    monkeypatch.setitem(codec.UPCASTERS, ("state.set", 1), lambda data: {**data, "value": data["value"] + "+2"})
    monkeypatch.setitem(codec.UPCASTERS, ("state.set", 2), lambda data: {**data, "value": data["value"] + "+3"})
    assert store.log.read(0, 1)[0].fact == StateSet("a", "1+2+3")


def restore(to: int, *before: NewEvent, **kw: object) -> Append:
    done = NewEvent("restore:x", RestoreDone("x", to), None)
    return Append((*before, done), "tester", "cmd:restore", floors=True, **kw)  # type: ignore[arg-type]


def test_after_a_restore_nothing_older_matches(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0), an_append("b", "1", 0), restore(1))
    assert store.log.head().floor == 3
    assert store.log.version("state:a") == store.log.version("state:new") == store.log.version("restore:x") == 3
    results = commit(store, an_append("a", "2", 1), an_append("c", "1", 0), an_append("a", "3", 3))
    assert [type(r) for r in results] == [Rejected, Rejected, Committed]
    assert store.log.read(3, 1)[0].prev == 3
    assert store.log.version("state:a") == 4
    assert store.log.version("state:b") == 3


def test_events_after_a_restore_in_the_same_group_see_its_floor(store: Store, an_append: Appending) -> None:
    results = commit(store, an_append("a", "1", 0), restore(0), an_append("a", "2", 1), an_append("a", "2", 2))
    assert [type(r) for r in results] == [Committed, Committed, Rejected, Committed]
    assert store.log.head().floor == 2
    assert store.log.version("state:a") == 3


def test_time_is_the_servers_and_never_goes_back(store: Store, an_append: Appending) -> None:
    before = store.now()
    times = [commit(store, an_append("a", str(n)))[0].at for n in range(20)]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= store.now()


def test_follow_waits_for_the_first_event(opened: Callable[[], Store], an_append: Appending) -> None:
    reader, writer = opened(), opened()
    commit(writer, an_append("a", "1"))
    assert [e.seq for e in reader.log.follow(0, 10, 10_000)] == [1]
    timer = threading.Timer(0.05, lambda: commit(writer, an_append("a", "2")))
    timer.start()
    assert [e.seq for e in reader.log.follow(1, 10, 10_000)] == [2]
    timer.join()
    assert reader.log.follow(2, 10, 1) == []
    assert reader.log.follow(2, 10, 0) == []


def test_wake_ends_many_blocking_calls(store: Store) -> None:
    ended: list[object] = []

    def block(n: int) -> None:
        ended.append(store.log.follow(0, 1, 60_000) if n % 2 else store.work.claim(f"n{n}", 1, 60_000))

    threads = [threading.Thread(target=block, args=(n,)) for n in range(16)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        store.log.wake()
    assert ended == [[]] * 16
    assert time.monotonic() - started < 30


def test_scan_gives_all_in_order(store: Store, an_append: Appending) -> None:
    commit(store, *(an_append("a", str(n)) for n in range(25)))
    chunks = list(store.log.scan(3, 25, 10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 2]
    assert [e.seq for chunk in chunks for e in chunk] == list(range(4, 26))
    assert list(store.log.scan(25, 25)) == []
    abandoned = store.log.scan(0, 25, 5)
    next(abandoned)
    del abandoned
    assert store.log.read(0, 1)[0].seq == 1


def test_large_groups_and_large_appends(store: Store, an_append: Appending) -> None:
    more = tuple(NewEvent(f"state:k{n}", StateSet(f"k{n}", "v"), 0) for n in range(3000))
    results = commit(store, an_append("a", "1", 0, more=more), *(an_append("b", str(n)) for n in range(5000)))
    assert results[0].last == 3001
    assert results[-1].first == 8001 == store.log.head().seq
    assert store.log.version("state:k2999") == 3001


def test_concurrent_appenders_get_one_line(opened: Callable[[], Store], an_append: Appending) -> None:
    won: list[int] = []

    def append_all(store: Store, worker: int) -> None:
        for n in range(60):
            contended, own = commit(store, an_append(f"c{n}", f"{worker}", 0), an_append(f"own{worker}", str(n)))
            assert isinstance(own, Committed)
            if isinstance(contended, Committed):
                won.append(n)

    threads = [threading.Thread(target=append_all, args=(opened(), worker)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(60))
    entries = opened().log.entries(0, 1000)
    assert [entry.seq for entry in entries] == list(range(1, 301))
    chain = ""
    for entry in entries:
        assert chain_of(chain, entry) == entry.chain
        chain = entry.chain


def test_another_history_is_refused(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0), an_append("a", "2", 1))
    good = store.log.head()
    for wrong in (Head(good.seq, "0" * 40), Head(1, good.chain), Head(good.seq + 1, good.chain)):
        with pytest.raises(LineageBroken):
            store.log.commit([an_append("b", "1", 0)], wrong)
    older = store.log.entries(0, 1)[0]
    assert isinstance(store.log.commit([an_append("b", "1", 0)], Head(1, older.chain))[0], Committed)
    assert store.log.head().seq == 3


def test_erase_leaves_nothing(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0, hints=(Hint("n", "r", 0),)))
    store.blobs.put(b"x")
    store.work.lease_take("l", "me", 60_000)
    assert store.erase() == 6
    assert store.erase() == 0
    assert store.log.head() == Head()
    assert isinstance(commit(store, an_append("a", "1", 0))[0], Committed)
