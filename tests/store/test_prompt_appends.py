"""Appends of commands: what the store refuses, or is away for, is told at once, dropped, and never comes later."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from maestro.model.errors import StoreAway, Unknown
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore

Appending = Callable[..., Append]
Opening = Callable[..., RedisStore]
Words = tuple[str, ...]


@pytest.fixture
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--appendfsync", "everysec", "--enable-protected-configs", "yes")


async def bounded(main: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(60):
        await main()


def subjects(store: RedisStore) -> list[str]:
    return [event.subject for event in store.log.read(0, 100)]


def save_fails(hand: Any) -> None:
    """The last snapshot of the server has failed, so that it takes no writes."""
    hand.call("CONFIG", "SET", "dir", "/proc")
    hand.call("CONFIG", "SET", "save", "3600 1")
    hand.call("BGSAVE")
    while b"rdb_last_bgsave_status:err" not in hand.call("INFO", "persistence"):
        time.sleep(0.01)


DENIALS: dict[str, tuple[Callable[[Any], object], Words]] = {
    "out of memory": (lambda hand: hand.call("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", "0")),
    "is a replica": (lambda hand: hand.call("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
    "Not enough good replicas": (
        lambda hand: hand.call("CONFIG", "SET", "min-replicas-to-write", 1),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "snapshots": (save_fails, ("CONFIG", "SET", "save", "")),
}


@pytest.mark.parametrize("said", DENIALS)
def test_what_the_store_refuses_is_dropped_and_what_is_not_a_commands_waits(
    server: Any, open_at: Opening, an_append: Appending, said: str
) -> None:
    store, hand = open_at(server.url), Dialler(server.url, 10)()
    deny, allow = DENIALS[said]

    async def main() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            await gateway.append(an_append("a", "1", 0))
            deny(hand)
            nursery.start_soon(gateway.append, an_append("waits", "1"))
            for prompt in ("first", "second"):
                with pytest.raises(StoreAway, match="nothing was done") as away:
                    await gateway.append(an_append(prompt, "1"), 30, prompt=True)
                assert said in away.value.line()
                assert not isinstance(away.value, Unknown)
            hand.call(*allow)
            await gateway.append(an_append("last", "1"), 30, prompt=True)

    trio.run(bounded, main)
    assert subjects(store) == ["state:a", "state:waits", "state:last"]


def test_where_the_store_is_away_it_is_dropped_too(server: Any, open_at: Opening, an_append: Appending) -> None:
    store = open_at(server.url)

    async def main() -> None:
        async with Gateway(store) as gateway:
            await gateway.append(an_append("a", "1", 0))
            server.stop()
            with pytest.raises(StoreAway):
                await gateway.call(store.log.head)  # its connections are known to be gone
            with pytest.raises(StoreAway, match="nothing was done") as away:
                await gateway.append(an_append("b", "1"), 30, prompt=True)
            assert not isinstance(away.value, Unknown)
            await trio.to_thread.run_sync(server.start)
            await gateway.append(an_append("c", "1"), 30, prompt=True)

    trio.run(bounded, main)
    assert subjects(store) == ["state:a", "state:c"]


def test_one_whose_reply_was_lost_is_unknown_and_there_once(
    server: Any, start_proxy: Callable[..., Any], open_at: Opening, an_append: Appending
) -> None:
    proxy = start_proxy(str(server.socket))
    store = open_at(proxy.url)

    async def main() -> None:
        async with Gateway(store) as gateway:
            await gateway.append(an_append("a", "1", 0))
            proxy.lose_replies = 1000
            with pytest.raises(Unknown, match="not confirmed"):
                await gateway.append(an_append("b", "1"), 0.2, prompt=True)
            # What waits behind it has never been sent.
            with pytest.raises(StoreAway, match="nothing was done") as away:
                await gateway.append(an_append("c", "1"), 0.2, prompt=True)
            assert not isinstance(away.value, Unknown)
            proxy.lose_replies = 0
            await gateway.append(an_append("d", "1"), 30, prompt=True)

    trio.run(bounded, main)
    assert subjects(store) == ["state:a", "state:b", "state:d"]
