"""A log that is not the one that was known stops everything, and never goes on silently."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from maestro.model.errors import LineageBroken, StoreAway, Unknown
from maestro.model.events import NewEvent, RestoreDone
from maestro.store.contract import Append, Committed, Hint
from maestro.store.keys import Keys
from maestro.store.redis.connection import Connection
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore

Appending = Callable[..., Append]


@pytest.fixture
def server(shared_server: Callable[..., object], server_kind: str) -> object:
    return shared_server(server_kind)


@pytest.fixture
def store(server: object, open_at: Callable[..., RedisStore]) -> RedisStore:
    return open_at(server.url)  # type: ignore[attr-defined]


@pytest.fixture
def hand(server: object, store: RedisStore) -> Connection:
    """Another hand on the server's keys."""
    return Dialler(server.url, 5)()  # type: ignore[attr-defined]


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace)


def commit(store: RedisStore, *group: Append) -> object:
    return store.log.commit(group, store.log.known())[0]


def fill(store: RedisStore, an_append: Appending, count: int = 5) -> None:
    for n in range(count):
        commit(store, an_append("a", str(n)))


def test_a_flushed_log_is_noticed_by_appends_and_reads(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending
) -> None:
    fill(store, an_append)
    hand.call("UNLINK", keys.log, keys.versions)
    with pytest.raises(LineageBroken):
        commit(store, an_append("b", "1", 0))
    with pytest.raises(LineageBroken):
        store.log.head()
    with pytest.raises(LineageBroken):
        store.log.follow(5, 10, 1)
    assert hand.call("EXISTS", keys.log) == 0


@pytest.mark.parametrize("gone", ["log", "versions"])
def test_a_part_that_was_lost_is_noticed_even_by_who_knows_nothing(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending, gone: str
) -> None:
    fill(store, an_append)
    hand.call("DEL", getattr(keys, gone))
    with pytest.raises(LineageBroken):
        store.log.commit([an_append("b", "1", 0)], None)
    assert hand.call("XLEN", keys.log) == (0 if gone == "log" else 5)


@pytest.mark.parametrize("lost", ["floor", "versions", "log"])
def test_a_log_that_lost_a_part_of_itself_is_made_whole_from_its_entries(
    store: RedisStore,
    hand: Connection,
    keys: Keys,
    an_append: Appending,
    open_at: Callable[..., RedisStore],
    server: object,
    lost: str,
) -> None:
    fill(store, an_append)
    commit(store, Append((NewEvent("restore:r", RestoreDone("r", 2, "l")),), "tester", "restore", floors=True))
    commit(store, an_append("b", "1", 6))
    had = [] if lost == "log" else sorted(store._pool.call("HGETALL", keys.versions).items())
    hand.call(*(("HDEL", keys.versions, "") if lost == "floor" else ("DEL", getattr(keys, lost))))
    other = open_at(server.url)  # type: ignore[attr-defined]
    with pytest.raises(LineageBroken, match="entries of the log are gone" if lost == "log" else "versions of the log"):
        other.log.head()
    assert other.log.mend() != ""
    assert sorted(other._pool.call("HGETALL", keys.versions).items()) == had
    assert other._pool.call("PTTL", keys.versions) in (-1, -2)
    assert other.log.mend() == ""
    floor = 0 if lost == "log" else 6
    assert other.log.head().floor == floor
    assert isinstance(commit(other, an_append("c", "1", floor)), Committed)


def test_another_history_under_the_same_name_is_noticed(
    store: RedisStore,
    hand: Connection,
    keys: Keys,
    open_at: Callable[..., RedisStore],
    server: object,
    an_append: Appending,
) -> None:
    fill(store, an_append)
    hand.call("UNLINK", keys.log, keys.versions)
    other = open_at(server.url)  # type: ignore[attr-defined]
    fill(other, an_append, 8)
    with pytest.raises(LineageBroken):
        commit(store, an_append("b", "1", 0))
    with pytest.raises(LineageBroken):
        store.log.read(5, 10)
    store._pool.forget()
    with pytest.raises(LineageBroken):
        store.work.pending("")


def test_an_altered_entry_is_named(store: RedisStore, hand: Connection, keys: Keys, an_append: Appending) -> None:
    fill(store, an_append, 2)
    known = store.log.head()
    kept = hand.call("XRANGE", keys.log, "-", "+")
    hand.call("DEL", keys.log)
    for identity, fields in kept:
        hand.call("XADD", keys.log, identity, *fields[:-1], b"f" * 40)
    with pytest.raises(LineageBroken):
        store.log.commit([an_append("b", "1", 0)], known)


def test_an_entry_that_another_hand_put_is_noticed(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending
) -> None:
    fill(store, an_append, 2)
    hand.call("XADD", keys.log, "*", "hello", "there")
    with pytest.raises(LineageBroken):
        commit(store, an_append("b", "1", 0))
    with pytest.raises(LineageBroken):
        store.log.read(0, 10)


def test_a_removed_entry_is_noticed_but_a_trimmed_one_is_not(
    store: RedisStore,
    hand: Connection,
    keys: Keys,
    an_append: Appending,
    open_at: Callable[..., RedisStore],
    server: object,
) -> None:
    fill(store, an_append)
    second = store.log.known()
    other = open_at(server.url)  # type: ignore[attr-defined]
    other.log.head()
    fill(other, an_append)
    hand.call("XTRIM", keys.log, "MINID", "7-0")
    assert isinstance(store.log.commit([an_append("b", "1", 0)], second), list)
    eighth = type(second)(8, other.log.entries(7, 1)[0].chain)
    hand.call("XDEL", keys.log, "8-0")
    with pytest.raises(LineageBroken):
        store.log.commit([an_append("c", "1", 0)], eighth)


@pytest.mark.parametrize("key", ["log", "versions"])
def test_a_key_of_another_type_is_refused_before_the_first_write(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending, key: str
) -> None:
    hand.call("ZADD", getattr(keys, key), 1, "x")
    hinted = an_append("b", "1", 0, hints=(Hint("n", "r", 0),))
    with pytest.raises(LineageBroken, match=r"overwritten by something else; .*--accept-loss"):
        commit(store, an_append("a", "1", 0), hinted)
    assert hand.call("EXISTS", keys.log, keys.versions, keys.work("n")) == 1


def test_positions_beyond_what_lua_prints_exactly(
    store: RedisStore,
    hand: Connection,
    keys: Keys,
    an_append: Appending,
    open_at: Callable[..., RedisStore],
    server: object,
) -> None:
    high = 9_007_199_254_740_000
    fill(store, an_append, 1)
    [[_, fields]] = hand.call("XRANGE", keys.log, "-", "+")
    hand.call("DEL", keys.log, keys.versions)
    hand.call("XADD", keys.log, f"{high}-0", *fields)
    hand.call("HSET", keys.versions, "", high)
    store = open_at(server.url)  # type: ignore[attr-defined]
    for n in range(1, 6):
        result = store.log.commit([an_append("z", str(n), high + n - 1)], None)[0]
        assert isinstance(result, Committed)
        assert result.first == high + n
    assert [(e.seq, e.prev) for e in store.log.read(high, 10)] == [(high + n, high + n - 1) for n in range(1, 6)]
    assert store.log.commit([an_append("z", "1", high)], None)[0].first == high + 1  # type: ignore[union-attr]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_promoted_replica_without_its_tail_is_noticed(
    start_server: Callable[..., object],
    start_proxy: Callable[..., object],
    open_at: Callable[..., RedisStore],
    an_append: Appending,
) -> None:
    """Also when new entries have taken the numbers of the lost ones."""
    primary, replica = (start_server("--repl-diskless-sync-delay", "0", port=free_port()) for _ in range(2))
    on_replica = Dialler(replica.url, 5)()  # type: ignore[attr-defined]
    on_replica.call("REPLICAOF", "127.0.0.1", primary.port)  # type: ignore[attr-defined]
    proxy = start_proxy(str(primary.socket))  # type: ignore[attr-defined]
    knowing, reading = open_at(proxy.url), open_at(proxy.url)  # type: ignore[attr-defined]
    fill(knowing, an_append, 5)
    reading.log.read(0, 10)
    log = Keys(knowing.namespace).log
    while b"master_link_status:up" not in on_replica.call("INFO", "replication") or on_replica.call("XLEN", log) < 5:
        time.sleep(0.01)
    with pytest.raises(StoreAway, match="replica"):
        open_at(replica.url).log.commit([an_append("b", "1", 0)], None)  # type: ignore[attr-defined]

    on_replica.call("REPLICAOF", "NO", "ONE")
    fill(knowing, an_append, 3)
    assert [e.seq for e in reading.log.follow(5, 10, 1000)] == [6, 7, 8]
    primary.kill()  # type: ignore[attr-defined]
    proxy.target = str(replica.socket)  # type: ignore[attr-defined]
    proxy.cut()  # type: ignore[attr-defined]
    with suppress(Unknown):
        knowing.log.commit([an_append("b", "1", 0)], knowing.log.known())
    with pytest.raises(LineageBroken):
        knowing.log.commit([an_append("b", "1", 0)], knowing.log.known())
    fill(open_at(replica.url), an_append, 4)  # type: ignore[attr-defined]
    with pytest.raises(LineageBroken):
        knowing.log.commit([an_append("b", "1", 0)], knowing.log.known())
    with pytest.raises(LineageBroken):
        reading.log.follow(8, 10, 100)
