"""The board in one process: its timeline while that is made, events of a later build, and looks that nobody wants."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from maestro import config
from maestro.board import board as boards
from maestro.board.application import Application
from maestro.board.board import Board, Building
from maestro.board.entrance import Entrance
from maestro.board.news import CONCERNED, News
from maestro.model.events import FACTS, NewEvent, StateSet
from maestro.runtime.node.context import Context
from maestro.store import codec
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import FOLDED, VIEWS

Ask = Callable[..., Awaitable[httpx.Response]]


def served(store: MemoryStore, home: Path, work: Callable[[Board, Ask], Awaitable[None]], runs: bool = True) -> None:
    """Do work with a board over a store, and with a browser that is in."""

    async def main() -> None:
        settings = config.load({"MAESTRO_HOME": str(home), "HOME": str(home)}, home)
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            board = Board(Context(settings, "north", store, gateway), 7777)
            entrance = Entrance(7777, board.token)
            if runs:
                nursery.start_soon(board.run)
            transport = httpx.ASGITransport(Application(board, entrance))
            cookie = {f"maestro-board-{7777}": entrance.keys.cookie}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost:7777", cookies=cookie
            ) as client:
                with trio.fail_after(30):
                    await work(board, client.get)
            nursery.cancel_scope.cancel()

    trio.run(main)


def grown(count: int) -> MemoryStore:
    """A store with so many events."""
    store = MemoryStore(f"b{os.urandom(3).hex()}")
    add(store, count)
    return store


def add(store: MemoryStore, count: int) -> None:
    """Append events about the state."""
    for number in range(count):
        store.log.commit([Append((NewEvent("state:n", StateSet("n", str(number))),), "a", "c")], None)


def test_an_event_of_a_later_build_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = grown(20)
    with monkeypatch.context() as later:
        later.setitem(codec.NAMES, StateSet, "state.sung")
        add(store, 1)
    add(store, 1)

    async def work(board: Board, ask: Ask) -> None:
        assert (await ask("/api/view/state?at=20")).json()[0]["value"] == "19"
        answer = await ask("/api/view/state?at=22")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "stopped")
        assert (await ask("/api/view/state")).json()[0]["value"] == "19"  # the newest that this build can tell
        page = (await ask("/api/events")).json()
        assert (page["position"], page["head"]) == (22, 22)
        assert [event["type"] for event in page["events"][:3]] == ["state.set", "state.sung", "state.set"]
        told = (await ask("/api/log")).json()
        assert (told["head"], told["stopped"]["position"]) == (22, 20)
        assert "sung" in told["stopped"]["what"]

    served(store, tmp_path, work)


def test_while_the_timeline_is_made_what_is_there_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "RECORDED_S_MAX", 0.0)

    async def work(board: Board, ask: Ask) -> None:
        board.building = Building(10, 30)
        assert (await ask("/api/view/state?at=10")).status_code == 200
        for path in ("/api/view/state?at=11", "/api/view/state", "/api/density"):
            answer = await ask(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "building")
            assert "10 of 30" in answer.json()["error"]["what"]
        assert (await ask("/api/log")).json()["building"] == {"reached": 10, "end": 30}
        board.building = None
        assert (await ask("/api/view/state")).json()[0]["value"] == "29"

    served(grown(30), tmp_path, work, runs=False)


def test_the_timeline_is_made_by_itself(tmp_path: Path) -> None:
    store = grown(30)

    async def work(board: Board, ask: Ask) -> None:
        await board.recorded(30)
        assert board.building is None
        assert board.timeline.exists
        assert (await ask("/api/log")).json()["building"] is None

    served(store, tmp_path, work)


def test_a_look_that_nobody_wants_any_more_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = list[int](), threading.Event()

    def look(number: int) -> None:
        begun.append(number)
        go.wait(20)

    async def work(board: Board, ask: Ask) -> None:
        async with trio.open_nursery() as busy:
            for number in range(boards.THREADS_MAX):
                busy.start_soon(board.work, look, number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            async with trio.open_nursery() as unwanted:
                for number in range(100, 120):
                    unwanted.start_soon(board.work, look, number)
                await trio.testing.wait_all_tasks_blocked(0.01)
                unwanted.cancel_scope.cancel()
            busy.start_soon(board.work, look, 7)
            go.set()
        assert sorted(begun) == [*range(boards.THREADS_MAX), 7]

    served(grown(1), tmp_path, work, runs=False)


def test_a_defect_in_one_route_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(board: Board, ask: Ask) -> None:
        monkeypatch.setattr(board.timeline, "density", lambda *_: 1 / 0)
        answer = await ask("/api/density")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
        assert "ZeroDivisionError" in answer.json()["error"]["what"]
        assert (await ask("/api/log")).status_code == 200

    served(grown(1), tmp_path, work)


def test_news_name_every_view_that_an_event_may_change(tmp_path: Path) -> None:
    known = {view.NAME for view in FOLDED}
    assert set().union(*CONCERNED.values()) == set(VIEWS)
    for fact in FACTS.values():
        folded = {view.NAME for view in FOLDED if fact in view.folds({})}
        assert folded <= CONCERNED.get(fact, frozenset()) <= known | {"queue"}


def test_of_whoever_has_missed_too_much_all_views_have_changed(tmp_path: Path) -> None:
    store = grown(3)
    news = News(
        Context(config.load({"MAESTRO_HOME": str(tmp_path), "HOME": "/"}, tmp_path), "n", store, Gateway(store))
    )
    news._begin(*news._end())
    assert (news.since(3), news.since(2)) == ([], sorted(VIEWS))
    add(store, 1)
    news._hear(store.log.read(3, 10))
    assert (news.since(4), news.since(3), news.since(2)) == ([], ["state"], sorted(VIEWS))
