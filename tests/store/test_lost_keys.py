"""Keys that are no truth (work, leases, heartbeats, groups, blobs): lost or overwritten, they hold nothing up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maestro.model.errors import VerificationFailed
from maestro.store.contract import Append, Committed, Fence, Hint, Rejected
from maestro.store.keys import Keys
from maestro.store.redis.connection import Connection
from maestro.store.redis.redis_store import RedisStore
from tests.conftest import StoreServer

Appending = Callable[..., Append]


@pytest.fixture
def store(
    shared_server: Callable[[str], StoreServer], server_kind: str, open_at: Callable[..., RedisStore]
) -> RedisStore:
    return open_at(shared_server(server_kind).url)


@pytest.fixture
def hand(store: RedisStore) -> Connection:
    """Somebody else who writes to the same server."""
    return store._pool.fresh()


@pytest.fixture
def keys(namespace: str) -> Keys:
    return Keys(namespace)


def aside(hand: Connection, key: str) -> list[bytes]:
    found: list[bytes] = hand.call("KEYS", key.replace("{", "\\{") + ":aside*")
    return found


@pytest.mark.parametrize("kind", ["gone", "a text", "a list"])
def test_a_work_stream_that_is_lost_is_one_without_hints(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending, kind: str
) -> None:
    key = keys.work("n")
    store.work.put([Hint("n", "r0", -1, 1)])
    assert [entry.run for entry in store.work.claim("n", 5, 0)] == ["r0"]
    hand.call("DEL", key)
    if kind != "gone":
        hand.call(*(("SET", key, "x") if kind == "a text" else ("RPUSH", key, "x")))
    result = store.log.commit([an_append("a", "1", 0, hints=(Hint("n", "r1", 0),))], None)[0]
    assert isinstance(result, Committed), "what a hint is for is in the log"
    assert [run for run, _, _ in store.work.pending("n")] == (["r1"] if kind == "gone" else [])
    store.work.put([Hint("n", "r2", -1, 1)])
    assert [entry.run for entry in store.work.claim("n", 5, 0)][-1] == "r2"
    assert len(aside(hand, key)) == (kind != "gone"), "what another hand put there is not deleted"


def test_a_work_stream_that_is_overwritten_while_somebody_claims_is_made_anew(
    store: RedisStore, hand: Connection, keys: Keys
) -> None:
    hand.call("SET", keys.work(""), "x")
    assert store.work.claim("n", 5, 0) == []
    store.work.put([Hint("", "r", -1, 1)])
    assert [entry.run for entry in store.work.claim("n", 5, 0)] == ["r"]


@pytest.mark.parametrize("kind", ["text", "list"])
def test_what_is_no_lease_holds_nothing(
    store: RedisStore, hand: Connection, keys: Keys, an_append: Appending, kind: str
) -> None:
    key = keys.lease("l")
    hand.call(*(("SET", key, b"\xff") if kind == "text" else ("RPUSH", key, "x")))
    fenced = an_append("a", "1", 0, fence=Fence("l", "me"))
    assert store.log.commit([fenced], None) == [Rejected("fence", "state:a")]
    assert store.work.lease_take("l", "me", 10_000)
    assert store.work.lease_holder("l") == "me"
    assert isinstance(store.log.commit([fenced], None)[0], Committed)
    assert not store.work.lease_take("l", "other", 10_000)


@pytest.mark.parametrize("kind", ["text", "garbage"])
def test_what_is_no_heartbeat_is_none(store: RedisStore, hand: Connection, keys: Keys, kind: str) -> None:
    name = "agent:a:last_heartbeat"
    hand.call(*(("SET", keys.sample(name), "x") if kind == "text" else ("HSET", keys.sample(name), b"\xff", "x")))
    assert store.work.samples([name, "none"]) == [None, None]
    store.work.samples_put({name: {"pid": "1"}}, 10_000)
    (found,) = store.work.samples([name])
    assert found is not None
    assert found["pid"] == "1"


@pytest.mark.parametrize("kind", ["another type", "garbage", "gone"])
def test_a_group_whose_position_is_lost_sees_everything_again(
    store: RedisStore, hand: Connection, keys: Keys, kind: str
) -> None:
    store.log.cursor_set("g", 7)
    match kind:
        case "garbage":
            hand.call("HSET", keys.cursors, "g", "x")
        case _:
            hand.call("DEL", keys.cursors)
            if kind == "another type":
                hand.call("SET", keys.cursors, "x")
    assert store.log.cursor_get("g") is None
    store.log.cursor_set("g", 3)
    assert store.log.cursor_get("g") == 3


@pytest.mark.parametrize("kind", ["another type", "garbage", "gone"])
def test_a_blob_that_is_not_what_it_was_is_never_given_out(
    store: RedisStore, hand: Connection, keys: Keys, kind: str
) -> None:
    name = store.blobs.put(b"a long text" * 100)
    match kind:
        case "garbage":
            hand.call("SET", keys.blob(name), b"\xff")
            with pytest.raises(VerificationFailed, match="the blob is damaged"):
                store.blobs.get(name)
        case _:
            hand.call("DEL", keys.blob(name))
            if kind == "another type":
                hand.call("RPUSH", keys.blob(name), "x")
            assert store.blobs.get(name) is None
    assert store.blobs.put(b"a long text" * 100) == name
    assert store.blobs.get(name) == b"a long text" * 100


@pytest.mark.parametrize("kind", ["another type", "gone"])
def test_blobs_whose_times_are_lost_are_kept(store: RedisStore, hand: Connection, keys: Keys, kind: str) -> None:
    name = store.blobs.put(b"one")
    hand.call("DEL", keys.blobs)
    if kind == "another type":
        hand.call("SET", keys.blobs, "x")
    assert store.blobs.collect(frozenset(), 0) == 0
    assert store.blobs.get(name) == b"one"
    other = store.blobs.put(b"two")
    assert store.blobs.collect(frozenset(), 0) == 1
    assert store.blobs.get(other) is None
