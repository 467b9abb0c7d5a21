"""Looks at agents: one whose folder hangs makes nobody wait for long, and is ill only when it hangs for long."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio

from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.events import NewEvent, NodeJoined, NodeLost
from maestro.model.health import Check, checks_of
from maestro.runtime.monitor import examination
from maestro.runtime.monitor.checks import Round, local_sight
from maestro.runtime.monitor.examination import examine_all, judged, observe
from maestro.runtime.node import context as context_, read_context
from maestro.runtime.node.context import Context
from maestro.runtime.node.read_context import ReadContext
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from maestro.workspaces.addresses import current


def agent(name: str, folder: Path) -> Agent:
    return Agent(name, 1, "shell", {"executable": "/bin/sh"}, str(folder), workspace=str(folder), node="n")


@pytest.mark.parametrize("with_trio", [True, False])
def test_a_folder_that_hangs_hinders_no_other_and_is_told_when_it_does_not_come_back(
    with_trio: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, looked = threading.Event(), examination.local_sight

    def look(row: Agent, *rest: Any) -> Any:
        if row.id == "hanging":
            released.wait()
        return looked(row, *rest)

    monkeypatch.setattr(examination, "local_sight", look)
    monkeypatch.setattr(examination, "ANSWER_S_MAX", 0.3)
    settings, store = cast(Settings, SimpleNamespace(home=tmp_path / "home", agents_dirs=())), MemoryStore("examined")

    async def story() -> None:
        context = Context(settings, "n", store, Gateway(store)) if with_trio else ReadContext(settings, "n", store)
        both = [agent("hanging", tmp_path), agent("fine", tmp_path)]

        async def checked(rows: list[Agent]) -> dict[str, list[Check]]:
            seen = await observe(context, rows)
            return {row.id: checks_of(row, seen[row.id]) for row in rows}

        found = await checked(both)
        names = {name: {check.name for check in checks} for name, checks in found.items()}
        assert names == {"hanging": {"process"}, "fine": {"process", "binary", "workspace", "disk", "definition"}}
        await trio.sleep(0.4)
        threads = threading.active_count()
        assert "workspace" not in {check.name for check in (await checked(both))["hanging"]}
        assert threading.active_count() <= threads + 1, "no other thread hangs there"
        context.looking["hanging"] = time.monotonic() - examination.SILENT_S_MAX - 1
        (check,) = [check for check in (await checked(both))["hanging"] if not check.ok]
        assert check.name == "workspace" and "does not answer" in check.detail
        released.set()
        while "hanging" in context.looking:
            await trio.sleep(0.01)
        assert all(check.ok for check in (await checked(both))["hanging"])

    trio.run(story)


def test_what_many_agents_have_in_common_is_looked_at_once_and_their_own_folders_each(tmp_path: Path) -> None:
    settings = cast(Settings, SimpleNamespace(home=tmp_path / "home", agents_dirs=(tmp_path / "types",)))
    rows = []
    for number in range(50):
        (folder := tmp_path / f"w{number}").mkdir()
        rows.append(agent(f"a{number}", folder))
    (tmp_path / "w7").rmdir()
    (tmp_path / "w7").symlink_to(tmp_path / "w8")
    (tmp_path / "w9").rmdir()
    (tmp_path / "w9").write_text("no folder")
    shared = Round(settings, current())
    seen = {row.id: local_sight(row, shared).workspace for row in rows}
    bad = {name: found.problem for name, found in seen.items() if found is not None and found.problem}
    assert bad == {"a7": "is now a link to elsewhere, or lies behind one", "a9": "is not a folder"}
    assert [look.cache_info().misses for look in (shared.program, shared.stamps, shared.real)] == [1, 1, 1]


@pytest.mark.parametrize("with_trio", [True, False])
def test_what_is_quick_is_done_in_one_thread_and_what_hangs_leaves_the_rest_to_others(
    with_trio: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, store = cast(Settings, SimpleNamespace(home=tmp_path, agents_dirs=())), MemoryStore("line")
    released, used = threading.Event(), set[int]()

    def work(number: int) -> int:
        used.add(threading.get_ident())
        if number in (0, 1, 50):
            released.wait()
        return number

    async def story() -> None:
        context = Context(settings, "n", store, Gateway(store)) if with_trio else ReadContext(settings, "n", store)
        with monkeypatch.context() as patch:
            patch.setattr(context_ if with_trio else read_context, "NEXT_THREAD_S", 60.0)
            quick = {str(number): functools.partial(work, number) for number in range(100, 1000)}
            assert len(await context.together(quick, 60.0)) == 900 and len(used) == 1
        try:
            found = await context.together({str(n): functools.partial(work, n) for n in range(200)}, 2.0)
        finally:
            released.set()
        assert set(found.values()) == set(range(200)) - {0, 1, 50}

    trio.run(story)


def test_work_that_is_done_together_is_done_once_each_and_what_it_raises_is_raised(tmp_path: Path) -> None:
    context = ReadContext(cast(Settings, SimpleNamespace(home=tmp_path, agents_dirs=())), "n", MemoryStore("together"))
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return number

    async def story() -> None:
        for count in (0, 1, 100):
            done.clear()
            works = {str(number): functools.partial(work, number) for number in range(count)}
            found = await context.together(works, 10.0)
            assert found == {str(number): number for number in range(count)} and sorted(done) == list(range(count))
        with pytest.raises(ZeroDivisionError):
            await context.together({"a": lambda: 1, "b": lambda: 1 // 0}, 10.0)

    trio.run(story)


def test_a_brief_look_at_agents_of_other_nodes_gives_the_same_verdicts(tmp_path: Path) -> None:
    settings, store = cast(Settings, SimpleNamespace(home=tmp_path / "home", agents_dirs=())), MemoryStore("brief")
    joined = [NewEvent(f"node:{name}", NodeJoined(name, name, "1", 1, 4, "t"), 0) for name in ("up", "gone")]
    store.log.commit([Append((*joined, NewEvent("node:gone", NodeLost("gone", "away"))), "test", "1")], None)

    def of(name: str, node: str | None, **fields: Any) -> Agent:
        return msgspec.structs.replace(agent(name, tmp_path), node=node, **fields)

    ill = {"healthy": False, "failed_checks": ["heartbeat"], "reason": "no heartbeat"}
    agents = [of("heard", "up"), of("deaf", "up"), of("lost", "gone"), of("ill", "up", **ill), of("free", None)]
    store.work.samples_put({f"agent:{one.id}:last_heartbeat": {} for one in agents if one.id != "deaf"}, 60_000)
    context = ReadContext(settings, "n", store)
    whole = trio.run(examine_all, context, agents)[0]
    brief = trio.run(functools.partial(examine_all, context, agents, brief=True))[0]
    assert [name for name in brief if not brief[name]] == ["heard", "free"] and all(whole.values())
    assert [judged(one, brief[one.id]) for one in agents] == [judged(one, whole[one.id]) for one in agents]
    assert not judged(agents[2], brief["lost"]).healthy and judged(agents[3], brief["ill"]).healthy
