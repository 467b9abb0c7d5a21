"""Rows, indexes and checkpoints, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from maestro.model.errors import Refused
from maestro.store.contract import Checkpoint, Page, PageQuery, RowChange, Store
from maestro.store.keys import Keys
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore
from tests.conftest import StoreServer

ZERO = Checkpoint()


def at(seq: int, stopped: str = "") -> Checkpoint:
    return Checkpoint(seq, f"chain{seq}", seq * 10, 0, stopped)


def row(name: str, data: bytes | None = b"{}", remove: tuple[str, ...] = (), **add: int) -> RowChange:
    return RowChange("tasks", name, data, add, remove)


def test_a_new_generation_is_empty(store: Store) -> None:
    assert store.views.current() is None
    assert store.views.checkpoint("1") == ZERO
    assert store.views.load("1", [("tasks", "t")]) == (ZERO, [None])
    assert store.views.page("1", PageQuery("tasks", "all")) == Page([], ZERO, 0)
    assert store.views.dump("1", "tasks") == []
    assert store.views.indexes("1", "tasks") == {}


def test_rows_come_with_the_checkpoint_that_they_are_of(store: Store) -> None:
    assert store.views.save("1", ZERO, at(5), [row("a", b"1"), row("b", b"2"), RowChange("agents", "a", b"3")])
    wanted = [("tasks", "b"), ("agents", "a"), ("tasks", "none"), ("tasks", "a"), ("tasks", "b")]
    assert store.views.load("1", wanted) == (at(5), [b"2", b"3", None, b"1", b"2"])
    assert store.views.load("1", []) == (at(5), [])
    assert store.views.dump("1", "tasks") == [("a", b"1"), ("b", b"2")]


def test_who_is_late_writes_nothing(store: Store) -> None:
    assert store.views.save("1", ZERO, at(5), [row("a", b"1", all=1)])
    for stale in (ZERO, at(4), at(5, "stopped"), Checkpoint(5, "other chain", 50)):
        assert not store.views.save("1", stale, at(9), [row("a", b"2", all=2), row("c")])
    assert store.views.load("1", [("tasks", "a"), ("tasks", "c")]) == (at(5), [b"1", None])
    assert store.views.save("1", at(5), at(5, "unknown event"), [])
    assert store.views.checkpoint("1") == at(5, "unknown event")
    assert store.views.save("1", at(5, "unknown event"), at(6), [])


def test_exactly_one_of_many_advances_a_view(opened: Callable[[], Store]) -> None:
    won: list[int] = []

    def advance(store: Store, worker: int) -> None:
        for seq in range(30):
            if store.views.save("1", at(seq) if seq else ZERO, at(seq + 1), [row("a", b"%d" % worker, all=seq)]):
                won.append(seq)

    threads = [threading.Thread(target=advance, args=(opened(), n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(30))
    assert opened().views.checkpoint("1").seq == len(won)


def test_pages_are_ordered_by_score_then_name(store: Store) -> None:
    scores = {"b": 2, "a": 2, "é": 2, "z": 1, "m": 9_007_199_254_740_991}
    store.views.save("1", ZERO, at(1), [row(name, name.encode(), all=score) for name, score in scores.items()])

    def names(**query: int | bool) -> list[str]:
        return [name for name, _ in store.views.page("1", PageQuery("tasks", "all", **query)).rows]  # type: ignore[arg-type]

    assert names(newest=False) == ["z", "a", "b", "é", "m"]
    assert names() == ["m", "é", "b", "a", "z"]
    assert names(limit=2) == ["m", "é"]
    assert names(offset=1, limit=2, newest=False) == ["a", "b"]
    assert names(offset=9) == []
    assert names(limit=0) == []
    assert names(min_score=2, max_score=2) == ["é", "b", "a"]
    page = store.views.page("1", PageQuery("tasks", "all", min_score=2, limit=1))
    assert page == Page([("m", b"m")], at(1), 4)


def test_rows_are_found_by_the_beginning_of_their_ids(store: Store) -> None:
    names = [f"01{number:04}" for number in range(50)] + ["K1", "01"]
    store.views.save("1", ZERO, at(1), [row(name, all=1) for name in names])
    assert store.views.beginning("1", "tasks", "01000", 100) == [f"01000{number}" for number in range(10)]
    assert store.views.beginning("1", "tasks", "K", 100) == ["K1"]
    assert len(store.views.beginning("1", "tasks", "01", 100)) == 51
    assert len(store.views.beginning("1", "tasks", "01", 7)) == 7
    assert store.views.beginning("1", "tasks", "2", 7) == store.views.beginning("1", "agents", "K", 7) == []


def test_rows_leave_and_change_their_indexes(store: Store) -> None:
    store.views.save("1", ZERO, at(1), [row("a", open=1, all=1), row("b", open=2, all=2)])
    moved = RowChange("tasks", "a", b"done", {"all": 1, "status:done": 7}, ("open", "never"))
    store.views.save("1", at(1), at(2), [moved, row("b", None, ("open", "all"))])
    assert store.views.indexes("1", "tasks") == {"all": {"a": 1}, "status:done": {"a": 7}}
    assert store.views.dump("1", "tasks") == [("a", b"done")]


def test_the_last_word_on_a_row_wins(store: Store) -> None:
    changes = [row("a", b"1", x=1), row("a", None, ("x",)), row("b", b"1", x=1), row("b", b"2", ("x",), y=2)]
    store.views.save("1", ZERO, at(1), [*changes, row("c", None, ("x",)), row("c", b"3", x=3)])
    assert store.views.dump("1", "tasks") == [("b", b"2"), ("c", b"3")]
    assert store.views.indexes("1", "tasks") == {"x": {"c": 3}, "y": {"b": 2}}


def test_thousands_of_rows_in_one_save(store: Store) -> None:
    changes = [row(f"t{n:05}", b"x" * 50, all=n, **{f"agent:{n % 5}": n}) for n in range(6000)]
    assert store.views.save("1", ZERO, at(1), changes)
    assert store.views.page("1", PageQuery("tasks", "all", limit=3000)).rows[-1][0] == "t03000"
    assert store.views.page("1", PageQuery("tasks", "agent:3")).total == 1200
    assert len(store.views.dump("1", "tasks")) == 6000
    assert store.views.indexes("1", "tasks")["all"] == {f"t{n:05}": n for n in range(6000)}
    assert store.views.save("1", at(1), at(2), [row(f"t{n:05}", None, ("all",)) for n in range(6000)])
    assert store.views.dump("1", "tasks") == []


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "é🦊\u202e", "a:b:c", "x" * 600])
def test_any_name_is_a_row(store: Store, name: str) -> None:
    store.views.save("1", ZERO, at(1), [row(name, name.encode(), **{f"by {name}": 3})])
    assert store.views.dump("1", "tasks") == [(name, name.encode())]
    assert store.views.indexes("1", "tasks") == {f"by {name}": {name: 3}}


def test_readers_are_switched_at_once_and_by_one(store: Store) -> None:
    store.views.save("1", ZERO, at(1), [row("a", b"old")])
    assert store.views.switch(None, "1")
    assert not store.views.switch(None, "2")
    store.views.save("2", ZERO, at(2), [row("a", b"new")])
    assert store.views.switch("1", "2")
    assert not store.views.switch("1", "3")
    assert store.views.current() == "2"
    assert store.views.switch("2", "2")
    assert store.views.load("2", [("tasks", "a")]) == (at(2), [b"new"])


def test_views_of_a_release_with_another_layout_are_its_own_until_they_are_dropped(
    server_kind: str, shared_server: Callable[[str], StoreServer], open_at: Callable[..., RedisStore], namespace: str
) -> None:
    url = shared_server(server_kind).url
    store, raw, keys = open_at(url), Dialler(url, 5)(), Keys(namespace)
    raw.call("SET", keys.older_views, "13-e5f6be07.0.1")
    raw.call("HSET", keys.rows("13-e5f6be07.0.1", "tasks"), "t", "{}")
    assert store.views.current() is None
    store.views.save("1", ZERO, at(1), [row("a", all=1)])
    assert store.views.switch(None, "1")
    assert raw.call("GET", keys.older_views) == b"13-e5f6be07.0.1"
    for _ in range(2):
        store.views.drop_older()
        assert not raw.call("EXISTS", keys.older_views, keys.rows("13-e5f6be07.0.1", "tasks"))
        assert store.views.current() == "1"
    store.erase()


def test_only_a_generation_that_nobody_reads_is_dropped(store: Store) -> None:
    store.views.save("1", ZERO, at(1), [row("a", all=1)])
    store.views.save("2", ZERO, at(1), [row("a", all=1)])
    store.views.switch(None, "1")
    with pytest.raises(Refused):
        store.views.drop("1")
    store.views.drop("2")
    store.views.drop("3")
    assert store.views.checkpoint("2") == ZERO
    assert store.views.dump("2", "tasks") == []
    assert store.erase() == 4
