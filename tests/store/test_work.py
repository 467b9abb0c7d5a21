"""Hints, leases and samples, on every store: nothing here is truth, but nothing is lost without need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from maestro.store.contract import Hint, Store
from maestro.store.keys import Keys
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore


def hints(stream: str, *runs: str) -> list[Hint]:
    return [Hint(stream, run, -1, token) for token, run in enumerate(runs, 1)]


def runs(entries: Any) -> list[str]:
    return [entry.run for entry in entries]


def test_a_claim_is_delivered_once_and_done_for_good(store: Store) -> None:
    store.work.put(hints("n", "a", "b", "c"))
    first = store.work.claim("n", 2, 0)
    assert [(e.stream, e.run, e.token) for e in first] == [("n", "a", 1), ("n", "b", 2)]
    assert runs(store.work.claim("n", 2, 0)) == ["c"]
    assert store.work.claim("n", 2, 0) == []
    assert store.work.pending("n") == [("a", "n", 1), ("b", "n", 2), ("c", "n", 3)]
    store.work.done(first)
    store.work.done(first)
    store.work.done([])
    assert store.work.pending("n") == [("c", "n", 3)]


def test_the_nodes_own_stream_comes_before_the_shared_one(store: Store) -> None:
    store.work.put(hints("", "s1", "s2", "s3"))
    store.work.put(hints("n", "own"))
    assert runs(store.work.claim("n", 2, 0)) == ["own", "s1"]
    assert sorted(runs(store.work.claim("m", 9, 0))) == ["s2", "s3"]


def test_no_claim_gets_more_than_its_free_slots_and_the_rest_stays_for_others(store: Store) -> None:
    store.work.put(hints("", "s1"))
    store.work.put(hints("n", "own"))
    assert runs(store.work.claim("n", 1, 0)) == ["own"]
    assert store.work.pending("") == [("s1", "", 1)]
    assert runs(store.work.claim("m", 1, 0)) == ["s1"]


def test_a_node_that_does_not_share_leaves_the_shared_stream(store: Store) -> None:
    store.work.put(hints("", "s1"))
    assert store.work.claim("n", 5, 0, shared=False) == []
    assert store.work.pending("") == [("s1", "", 1)]


def test_what_is_put_back_is_for_another_node(store: Store) -> None:
    store.work.put([Hint("", "r", -1, 7)])
    (mine,) = store.work.claim("a", 1, 0)
    store.work.put_back([mine])
    assert store.work.pending("") == [("r", "", 7)]
    (theirs,) = store.work.claim("b", 1, 0)
    assert (theirs.stream, theirs.run, theirs.token) == ("", "r", 7)
    store.work.done([theirs])
    assert store.work.pending("") == []


def test_pending_of_nothing_is_nothing(store: Store) -> None:
    assert store.work.pending("never") == []


def test_a_blocking_claim_ends_with_the_first_hint(opened: Callable[[], Store]) -> None:
    worker, scheduler = opened(), opened()
    for stream in ("n", ""):
        timer = threading.Timer(0.05, scheduler.work.put, [hints(stream, f"to{stream}")])
        timer.start()
        assert runs(worker.work.claim("n", 4, 20_000)) == [f"to{stream}"]
        timer.join()
    assert worker.work.claim("n", 4, 1) == []


def test_entries_are_shared_out_each_to_one(opened: Callable[[], Store]) -> None:
    scheduler = opened()
    scheduler.work.put(hints("", *(f"r{n}" for n in range(120))))
    claimed: list[str] = []

    def work(store: Store, node: str) -> None:
        while entries := store.work.claim(node, 3, 0):
            claimed.extend(runs(entries))
            store.work.done(entries)

    threads = [threading.Thread(target=work, args=(opened(), f"n{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(f"r{n}" for n in range(120))
    assert scheduler.work.pending("") == []


def test_a_lease_has_one_holder(store: Store) -> None:
    assert store.work.lease_holder("l") is None
    assert store.work.lease_take("l", "a", 60_000)
    assert not store.work.lease_take("l", "b", 60_000)
    assert store.work.lease_take("l", "a", 60_000)
    store.work.lease_drop("l", "b")
    assert store.work.lease_holder("l") == "a"
    store.work.lease_drop("l", "a")
    store.work.lease_drop("l", "a")
    assert store.work.lease_take("l", "b", 60_000)


def test_a_lease_ends_by_itself(store: Store) -> None:
    assert store.work.lease_take("l", "a", 30)
    until = time.monotonic() + 20
    while not store.work.lease_take("l", "b", 60_000):
        assert time.monotonic() < until
        time.sleep(0.005)
    assert store.work.lease_holder("l") == "b"


def test_a_lease_of_a_server_whose_clock_was_ahead_ends_as_any_other(store: Store) -> None:
    for lease, noticed in (("taken", lambda: store.work.lease_take("taken", "b", 30)), ("seen", lambda: None)):
        assert store.work.lease_take(lease, "a", 3_600_000)  # what is left of it where the clock is an hour behind
        assert not noticed()
        until = time.monotonic() + 20
        while store.work.lease_holder(lease, 30 if lease == "seen" else 0) == "a":
            assert time.monotonic() < until
            time.sleep(0.005)
    assert store.work.lease_take("taken", "b", 60_000)
    assert store.work.lease_holder("taken", 120_000) == "b"
    for ttl_ms in (0, 120_000):
        assert store.work.lease_holders(["taken", "none", "taken"], ttl_ms) == ["b", None, "b"]
    assert store.work.lease_holders([]) == []


def test_samples_replace_each_other_and_end_by_themselves(store: Store) -> None:
    before = store.now()
    store.work.samples_put({"agent:a:last_heartbeat": {"cpu": "1", "old": "x", "at": "forged"}}, 60_000)
    store.work.samples_put({f"agent:{name}:last_heartbeat": {"cpu": "2"} for name in "ad"}, 60_000)
    store.work.samples_put({}, 60_000)
    store.work.samples_put({"agent:b:last_heartbeat": {}}, 20)
    [first, none, last] = store.work.samples([f"agent:{name}:last_heartbeat" for name in "acd"])
    assert none is None and last is not None and last.pop("at") and last == {"cpu": "2"}
    assert first is not None
    assert before <= int(first.pop("at")) <= store.now()
    assert first == {"cpu": "2"}
    until = time.monotonic() + 20
    while store.work.samples(["agent:b:last_heartbeat"]) != [None]:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert store.work.samples([]) == []


def test_own_pending_entries_come_first_after_a_start(
    shared_server: Callable[[str], Any], server_kind: str, open_at: Callable[..., RedisStore]
) -> None:
    url = shared_server(server_kind).url
    before = open_at(url)
    before.work.put(hints("n", *(f"r{n}" for n in range(7))))
    kept = before.work.claim("n", 5, 0)
    before.work.done(kept[:1])
    after = open_at(url)
    assert runs(after.work.claim("n", 3, 0)) == ["r1", "r2", "r3"]
    assert runs(after.work.claim("n", 3, 0)) == ["r4"]
    assert runs(after.work.claim("n", 3, 0)) == ["r5", "r6"]
    assert after.work.claim("n", 3, 0) == []
    after.erase()


def test_a_lost_group_is_made_again_from_the_beginning(
    shared_server: Callable[[str], Any], server_kind: str, open_at: Callable[..., RedisStore], namespace: str
) -> None:
    url = shared_server(server_kind).url
    store, keys = open_at(url), Keys(namespace)
    store.work.put(hints("n", "a"))
    store.work.done(store.work.claim("n", 1, 0))
    hand = Dialler(url, 5)()
    hand.call("XGROUP", "DESTROY", keys.work("n"), "workers")
    store.work.put(hints("n", "b"))
    assert runs(store.work.claim("n", 9, 0)) == ["b"]
    hand.call("DEL", keys.work("n"), keys.work(""))
    assert store.work.claim("n", 9, 0) == []
    timer = threading.Timer(0.05, hand.call, ("DEL", keys.work("n")))
    timer.start()
    assert store.work.claim("n", 9, 300) == []
    timer.join()
    store.work.put(hints("n", "c"))
    assert runs(store.work.claim("n", 9, 0)) == ["c"]
    store.erase()


def test_a_claim_whose_delivery_was_lost_is_delivered_again(
    shared_server: Callable[[str], Any],
    server_kind: str,
    start_proxy: Callable[..., Any],
    open_at: Callable[..., RedisStore],
) -> None:
    proxy = start_proxy(str(shared_server(server_kind).socket))
    store = open_at(proxy.url)
    store.work.put(hints("n", "a", "b", "c"))
    assert runs(store.work.claim("n", 1, 0)) == ["a"]
    proxy.lose_replies = 1
    assert runs(store.work.claim("n", 1, 0)) == ["b"]
    assert runs(store.work.claim("n", 1, 0)) == ["c"]
    assert store.work.claim("n", 1, 0) == []
    store.erase()
