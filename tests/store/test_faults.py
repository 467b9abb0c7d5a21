"""Servers that restart, forget, stand still, fill up; connections that lose requests or replies."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from maestro.model.errors import Invalid, StoreAway, StoreUnsafe, Unknown
from maestro.store.contract import Append, Checkpoint, Committed, Hint, PageQuery, RowChange
from maestro.store.keys import Keys
from maestro.store.redis.connection import Connection
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore, open_redis

Appending = Callable[..., Append]
Opening = Callable[..., RedisStore]


@pytest.fixture
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--appendfsync", "everysec")


@pytest.fixture
def hand(server: Any) -> Connection:
    return Dialler(server.url, 10)()


def commit(store: RedisStore, *group: Append) -> list[Any]:
    return list(store.log.commit(group, store.log.known()))


def test_a_lost_reply_leaves_the_outcome_unknown_and_one_copy(
    server: Any, start_proxy: Callable[..., Any], open_at: Opening, an_append: Appending
) -> None:
    proxy = start_proxy(str(server.socket))
    store = open_at(proxy.url)
    commit(store, an_append("a", "1"))
    proxy.lose_replies = 1
    with pytest.raises(Unknown):
        commit(store, an_append("a", "2", 1))
    assert store.log.head().seq == 2
    [result] = commit(store, an_append("a", "2", 1))
    assert (result.first, result.duplicate) == (2, True)


def test_a_script_that_the_server_forgot_is_sent_again(
    server: Any, hand: Connection, open_at: Opening, an_append: Appending
) -> None:
    store = open_at(server.url)
    commit(store, an_append("a", "1", 0))
    hand.call("SCRIPT", "FLUSH")
    assert commit(store, an_append("a", "2", 1))[0].first == 2
    hand.call("SCRIPT", "FLUSH")
    assert store.work.lease_take("l", "me", 1000)
    hand.call("SCRIPT", "FLUSH")
    store.work.samples_put({name: {"cpu": "1"} for name in "abc"}, 60_000)
    assert all(store.work.samples("abc"))


def test_a_large_group_goes_out_in_parts_and_is_there_once(
    server: Any, hand: Connection, start_proxy: Callable[..., Any], open_at: Opening, an_append: Appending
) -> None:
    proxy = start_proxy(str(server.socket))
    store = open_at(proxy.url)
    group = [an_append(f"k{n}", "1", 0) for n in range(100)]
    group[50] = an_append("", "1", -1)
    hand.call("SCRIPT", "FLUSH")
    first = commit(store, *group[:70])
    assert [r.first for r in first if isinstance(r, Committed)] == list(range(1, 70))
    proxy.lose_replies = 1
    with pytest.raises(Unknown):
        commit(store, *group)
    again = commit(store, *group)
    assert [r.reason for r in again if not isinstance(r, Committed)] == ["bad"]
    assert [r.first for r in again[:50]] == [r.first for r in first[:50]]
    subjects = [event.subject for event in store.log.read(0, 1000)]
    assert sorted(subjects) == sorted({f"state:k{n}" for n in range(100)} - {"state:k50"})


def test_a_restart_is_not_noticed_by_who_was_idle(server: Any, open_at: Opening, an_append: Appending) -> None:
    store = open_at(server.url)
    commit(store, an_append("a", "1", 0, hints=(Hint("n", "r", 0),)))
    store.work.claim("n", 1, 0)
    server.stop()
    with pytest.raises(StoreAway):
        store.log.head()
    server.start()
    assert commit(store, an_append("a", "2", 1))[0].first == 2
    assert [e.seq for e in store.log.read(0, 10)] == [1, 2]
    assert store.work.pending("n") == [("r", "n", 1)]


def test_a_server_that_a_test_has_started_has_loaded_its_data(start_server: Callable[..., Any]) -> None:
    server = start_server("--key-load-delay", "50")  # us a command, and it gives answers every 1024 of them
    hand = Dialler(server.url, 10)()
    hand.many([("SET", f"k{n}", "v") for n in range(20_000)])
    server.stop()
    server.start()
    assert b"\nloading:0\r" in Dialler(server.url, 10)().call("INFO", "persistence")


def test_a_server_that_is_away_says_where_and_how_to_mend_it(server: Any, open_at: Opening) -> None:
    server.stop()
    with pytest.raises(StoreAway) as away:
        open_at(server.url)
    assert not isinstance(away.value, Unknown)
    assert str(server.socket) in away.value.line()
    assert "MAESTRO_REDIS_URL" in away.value.line()


def test_a_blocking_call_ends_with_the_server(server: Any, open_at: Opening) -> None:
    store = open_at(server.url)
    timer = threading.Timer(0.1, server.kill)
    timer.start()
    with pytest.raises(StoreAway):
        store.log.follow(0, 1, 60_000)
    timer.join()


def test_a_paused_server_times_out_and_the_append_is_done_once(
    server: Any, open_at: Opening, an_append: Appending
) -> None:
    store = open_at(server.url, 0.3)
    commit(store, an_append("a", "1", 0), an_append("b", "1"))
    server.signal(signal.SIGSTOP)
    with pytest.raises(Unknown):
        commit(store, an_append("a", "2", 1), an_append("b", "2"))
    server.signal(signal.SIGCONT)
    again = [an_append("a", "2", 1), an_append("b", "2", resend=True, since=2)]
    assert [result.first for result in commit(store, *again)] == [3, 4]
    time.sleep(0.05)
    assert store.log.head().seq == 4


def test_wake_does_not_wait_for_a_server_that_stands_still(server: Any, open_at: Opening) -> None:
    store = open_at(server.url, 0.3)
    ended = threading.Event()

    def block() -> None:
        store.log.follow(0, 1, 60_000)
        ended.set()

    threading.Thread(target=block).start()
    while not any(blocked.connection for blocked in list(store._pool._blocked)):
        time.sleep(0.01)
    server.signal(signal.SIGSTOP)
    store.log.wake()
    assert ended.wait(20)


def test_a_full_server_refuses_before_the_first_write_and_goes_on_later(
    server: Any, hand: Connection, open_at: Opening, an_append: Appending
) -> None:
    store = open_at(server.url)
    commit(store, an_append("a", "1", 0))
    hand.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreAway, match="out of memory") as full:
        commit(store, an_append("a", "2", 1), an_append("b", "1", 0))
    assert not isinstance(full.value, Unknown)
    assert store.log.read(0, 10)[-1].seq == 1
    hand.call("CONFIG", "SET", "maxmemory", "0")
    assert commit(store, an_append("a", "2", 1))[0].first == 2


def kept_busy(hand: Connection, call: Callable[[], object]) -> threading.Thread:
    """A thread whose script keeps the server busy until it is killed; it is once a call is told so."""
    hand.call("CONFIG", "SET", "lua-time-limit", "1")

    def loop_until_killed() -> None:
        with pytest.raises(StoreUnsafe):
            hand.call("EVAL", "while true do end", 0)

    looping = threading.Thread(target=loop_until_killed)
    looping.start()
    until = time.monotonic() + 20
    with pytest.raises(StoreAway, match="not ready"):
        while time.monotonic() < until:
            call()
    return looping


def test_a_busy_server_is_waited_for(
    server: Any, hand: Connection, open_at: Opening, an_append: Appending, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, killer = open_at(server.url), open_at(server.url)
    commit(store, an_append("a", "1", 0))
    killer.log.head()
    looping = kept_busy(hand, lambda: commit(store, an_append("a", "2", 1)))
    timer = threading.Timer(0.2, killer._pool.call, ("SCRIPT", "KILL"))
    timer.start()
    assert store.log.head().seq >= 1
    looping.join()
    assert commit(store, an_append("a", "2", 1))[0].first == 2


def test_a_save_of_the_views_waits_for_a_busy_server_on_a_new_connection_too(
    server: Any, hand: Connection, open_at: Opening, an_append: Appending
) -> None:
    store, killer = open_at(server.url), open_at(server.url)
    commit(store, an_append("a", "1", 0))
    killer.log.head()
    looping = kept_busy(hand, lambda: commit(store, an_append("a", "2", 1)))
    store._pool.forget()  # the next call looks at the log of a new connection first, and hears there that it is busy
    saving = store.views.send("1", Checkpoint(), Checkpoint(1, "c"), [])
    killer._pool.call("SCRIPT", "KILL")
    looping.join()
    assert saving.result()
    assert store.views.checkpoint("1").seq == 1


def test_a_save_whose_answer_is_lost_is_sent_again_and_counts_once(
    server: Any, start_proxy: Callable[..., Any], open_at: Opening
) -> None:
    proxy = start_proxy(str(server.socket))
    store = open_at(proxy.url)
    one, two = Checkpoint(1, "c"), Checkpoint(2, "d")
    assert store.views.save("1", Checkpoint(), one, [])
    proxy.lose_replies = 1
    saving = store.views.send("1", one, two, [RowChange("tasks", "t", b"{}", {"all": 1})])
    assert not saving.result()  # as its checkpoint was moved already, by itself
    assert store.views.load("1", [("tasks", "t")]) == (two, [b"{}"])
    store.views.send("1", two, Checkpoint(3, "e"), []).abandon()
    assert store.views.page("1", PageQuery("tasks", "all")).total == 1


def test_a_server_that_loads_is_waited_for(
    server: Any, hand: Connection, open_at: Opening, an_append: Appending
) -> None:
    store = open_at(server.url)
    commit(store, *(an_append("a", str(n)) for n in range(50)))
    hand.many([("SET", f"filler:{n}", "x") for n in range(3000)])
    server.stop()
    server.options += ("--key-load-delay", "300")
    starting = threading.Thread(target=server.start)
    starting.start()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            assert commit(store, an_append("b", "1", 0))[0].first == 51
            break
        except StoreAway:
            time.sleep(0.01)
    starting.join()
    assert store.log.head().seq == 51


def test_least_rights_are_enough(
    server: Any, hand: Connection, namespace: str, open_at: Opening, an_append: Appending
) -> None:
    from maestro.store.redis.safety import acl_rule

    hand.call(*acl_rule("mae", namespace, "pass/word"))
    store = open_at(f"unix://mae:pass%2Fword@{server.socket}")
    [result] = commit(store, an_append("a", "1", 0, hints=(Hint("n", "r", 0),)))
    assert isinstance(result, Committed)
    store.work.done(store.work.claim("n", 1, 10))
    store.work.samples_put({"agent:a:last_heartbeat": {"cpu": "1"}}, 1000)
    store.views.save("1", Checkpoint(), Checkpoint(1, "c"), [RowChange("tasks", "t", b"{}", {"all": 1})])
    assert store.views.page("1", PageQuery("tasks", "all")).total == 1
    assert store.views.indexes("1", "tasks") == {"all": {"t": 1}}
    assert store.views.switch(None, "2")
    store.views.drop("1")
    store.blobs.collect(frozenset([store.blobs.put(b"x")]), 0)
    assert store.describe()["access"] == ""
    assert store.log.follow(0, 1, 10)
    assert store.erase() > 0
    with pytest.raises(StoreUnsafe, match="refuses this user"):
        store._pool.call("SET", "foreign", "x")
    with pytest.raises(StoreUnsafe, match="refuses this user"):
        open_at(f"unix://mae:wrong@{server.socket}")


@pytest.mark.parametrize(
    "url", ["", "http://localhost", "redis://localhost:port", "redis+sentinel://localhost:26379", "unix://?db=x"]
)
def test_a_bad_url_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(Invalid, match="MAESTRO_REDIS_URL"):
        open_redis(url, "default")


@pytest.mark.parametrize("name", ["", "a b", "{x}", "-x", "x" * 65, "a*", "é"])
def test_a_bad_namespace_is_the_callers_mistake(name: str) -> None:
    with pytest.raises(Invalid, match="namespace"):
        Keys(name)
