"""Appends from trio: grouped, in order, each settled once, whatever the store does meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from maestro.model.errors import LineageBroken, MaestroError, StoreAway, Unknown
from maestro.store.contract import Append, Committed, Head, Rejected, Store
from maestro.store.gateway import Gateway
from maestro.store.keys import Keys
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore

Appending = Callable[..., Append]
Opening = Callable[..., RedisStore]


@pytest.fixture
def server(start_server: Callable[..., Any]) -> Any:
    return start_server("--appendfsync", "everysec")


class Counting:
    """A log that notes the size of each group."""

    def __init__(self, store: Store) -> None:
        self.groups: list[int] = []
        self._commit = store.log.commit
        store.log.commit = self.commit  # type: ignore[method-assign]

    def commit(self, group: list[Append], known: Head | None) -> Any:
        self.groups.append(len(group))
        return self._commit(group, known)


def test_what_waits_is_committed_as_one_group_in_order(store: Store, an_append: Appending) -> None:
    counting = Counting(store)
    firsts: dict[int, int] = {}

    async def one(gateway: Gateway, n: int) -> None:
        result = await gateway.append(an_append(f"k{n}", "1", 0))
        assert isinstance(result, Committed)
        firsts[n] = result.first

    async def main() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(one, gateway, n)

    trio.run(main)
    assert sorted(firsts.values()) == list(range(1, 301))
    assert len(counting.groups) < 100
    order = [int(e.subject.removeprefix("state:k")) for e in store.log.read(0, 300)]
    assert [firsts[n] for n in order] == list(range(1, 301))


def test_appends_of_one_task_keep_their_order(store: Store, an_append: Appending) -> None:
    async def main() -> list[int]:
        async with Gateway(store) as gateway:
            results = [await gateway.append(an_append("a", str(n), n)) for n in range(20)]
        return [result.first for result in results if isinstance(result, Committed)]

    assert trio.run(main) == list(range(1, 21))


def test_one_callers_rejection_is_not_its_neighbours(store: Store, an_append: Appending) -> None:
    results: dict[str, object] = {}

    async def one(gateway: Gateway, name: str, append: Append) -> None:
        try:
            results[name] = type(await gateway.append(append))
        except Exception as error:
            results[name] = type(error)

    async def main() -> None:
        async with Gateway(store) as gateway:
            await gateway.append(an_append("taken", "1", 0))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, gateway, "good", an_append("a", "1", 0))
                nursery.start_soon(one, gateway, "conflict", an_append("taken", "2", 0))
                nursery.start_soon(one, gateway, "bad", Append((), "a", "c"))
                nursery.start_soon(one, gateway, "broken", an_append("b", "1", 0, actor=5))
                nursery.start_soon(one, gateway, "other", an_append("c", "1", 0))

    trio.run(main)
    assert results == {
        "good": Committed,
        "conflict": Rejected,
        "bad": Rejected,
        "broken": AttributeError,
        "other": Committed,
    }
    assert store.log.head().seq == 3


def test_an_append_is_settled_though_its_task_is_cancelled(store: Store, an_append: Appending) -> None:
    async def main() -> object:
        async with Gateway(store) as gateway:
            with trio.CancelScope() as scope:
                scope.cancel()
                return await gateway.append(an_append("a", "1", 0))

    assert isinstance(trio.run(main), Committed)


def test_calls_run_in_threads_and_raise_their_own_errors(store: Store) -> None:
    async def main() -> None:
        async with Gateway(store) as gateway:
            assert await gateway.call(store.log.read, 0, 10) == []
            assert abs(await gateway.call(store.now) - time.time() * 1000) < 60_000
            with pytest.raises(ZeroDivisionError):
                await gateway.call(lambda: 1 // 0)

    trio.run(main)


def test_a_cancelled_wait_is_woken(store: Store) -> None:
    async def main() -> None:
        async with Gateway(store) as gateway:
            for _ in range(20):
                with trio.move_on_after(0.001):
                    assert await gateway.wait(store.log.follow, 0, 10, 60_000) == []
            async with trio.open_nursery() as nursery:
                for n in range(8):
                    nursery.start_soon(gateway.wait, store.work.claim, f"n{n}", 1, 60_000)
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    started = time.monotonic()
    trio.run(main)
    assert time.monotonic() - started < 40


def test_an_unknown_outcome_is_sent_again_before_anything_newer(
    server: Any, start_proxy: Callable[..., Any], open_at: Opening, an_append: Appending
) -> None:
    proxy = start_proxy(str(server.socket))
    store = open_at(proxy.url)
    results: list[object] = []

    async def one(gateway: Gateway, n: int) -> None:
        results.append(await gateway.append(an_append(f"k{n % 7}", str(n))))

    async def main() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(one, gateway, n)
                if n % 40 == 20:
                    proxy.lose_replies += 1
                    await trio.sleep(0.005)

    trio.run(main)
    assert len(results) == 200
    values = [event.fact.value for event in store.log.read(0, 1000)]  # type: ignore[union-attr]
    assert sorted(map(int, values)) == list(range(200))
    assert proxy.lose_replies == 0


def test_appends_wait_while_the_store_is_away(server: Any, open_at: Opening, an_append: Appending) -> None:
    store = open_at(server.url)

    async def main() -> None:
        async with Gateway(store) as gateway:
            await gateway.append(an_append("a", "1", 0))
            server.kill()
            with pytest.raises(Unknown):
                await gateway.append(an_append("a", "2", 1), deadline_s=0.2)
            assert gateway.away is not None
            assert gateway.away_since is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(gateway.append, an_append("b", "1", 0))
                await trio.to_thread.run_sync(server.start)
            assert gateway.away is gateway.away_since is None

    trio.run(main)
    assert [e.subject for e in store.log.read(0, 10)] == ["state:a", "state:a", "state:b"]


def test_a_server_that_stood_still_has_each_append_once(server: Any, open_at: Opening, an_append: Appending) -> None:
    store = open_at(server.url, 0.15)

    async def main() -> None:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            for round_ in range(3):
                server.signal(signal.SIGSTOP)
                for n in range(5):
                    nursery.start_soon(gateway.append, an_append(f"k{n}", f"{round_}"))
                await trio.sleep(0.4)
                server.signal(signal.SIGCONT)

    trio.run(main)
    found = sorted((e.subject, e.fact.value) for e in store.log.read(0, 100))  # type: ignore[union-attr]
    assert found == sorted((f"state:k{n}", f"{round_}") for n in range(5) for round_ in range(3))


def test_a_broken_lineage_ends_everything_for_good(
    server: Any, open_at: Opening, an_append: Appending, namespace: str
) -> None:
    store = open_at(server.url)
    raised: list[MaestroError] = []

    async def one(gateway: Gateway, n: int) -> None:
        try:
            await gateway.append(an_append("b", str(n)))
        except MaestroError as error:
            raised.append(error)

    async def main() -> None:
        async with Gateway(store) as gateway:
            await gateway.append(an_append("a", "1", 0))
            Dialler(server.url, 5)().call("FLUSHALL")
            async with trio.open_nursery() as nursery:
                for n in range(5):
                    nursery.start_soon(one, gateway, n)
            await one(gateway, 9)
            assert isinstance(gateway.broken, LineageBroken)
            assert "--accept-loss" in gateway.broken.line()

    trio.run(main)
    assert [type(error) for error in raised] == [LineageBroken] * 6
    assert Dialler(server.url, 5)().call("EXISTS", Keys(namespace).log) == 0


def test_giving_up_fails_who_waits(server: Any, open_at: Opening, an_append: Appending) -> None:
    store = open_at(server.url)
    raised: list[type] = []

    async def one(gateway: Gateway, n: int) -> None:
        try:
            await gateway.append(an_append("b", str(n)))
        except StoreAway as error:
            raised.append(type(error))

    async def main() -> None:
        async with Gateway(store) as gateway:
            server.kill()
            async with trio.open_nursery() as nursery:
                for n in range(3):
                    nursery.start_soon(one, gateway, n)
                    await trio.sleep(0.05)
                gateway.give_up()
            with pytest.raises(StoreAway, match="closed"):
                await gateway.append(an_append("c", "1"))

    trio.run(main)
    assert raised == [StoreAway] * 3
