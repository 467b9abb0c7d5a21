"""Looks at agents: one whose folder hangs makes nobody wait for long, and is ill only when it hangs for long."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.runtime.monitor import examination
from maestro.runtime.monitor.examination import examine
from maestro.runtime.node.context import Context
from maestro.runtime.node.read_context import ReadContext
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore


def agent(name: str, folder: Path) -> Agent:
    return Agent(name, 1, "shell", {"executable": "/bin/sh"}, str(folder), workspace=str(folder), node="n")


@pytest.mark.parametrize("with_trio", [True, False])
def test_a_folder_that_hangs_hinders_no_other_and_is_told_when_it_does_not_come_back(
    with_trio: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, looked = threading.Event(), examination.local_checks

    def look(row: Agent, *rest: Any) -> Any:
        if row.id == "hanging":
            released.wait()
        return looked(row, *rest)

    monkeypatch.setattr(examination, "local_checks", look)
    monkeypatch.setattr(examination, "ANSWER_S_MAX", 0.3)
    settings, store = cast(Settings, SimpleNamespace(home=tmp_path / "home", agents_dirs=())), MemoryStore("examined")

    async def story() -> None:
        context = Context(settings, "n", store, Gateway(store)) if with_trio else ReadContext(settings, "n", store)
        both = [agent("hanging", tmp_path), agent("fine", tmp_path)]
        found = await examine(context, both)
        assert found["hanging"] == [] and {check.name for check in found["fine"]} >= {"workspace", "disk"}
        await trio.sleep(0.4)
        threads = threading.active_count()
        assert (await examine(context, both))["hanging"] == []
        assert threading.active_count() <= threads + 1, "no other thread hangs there"
        context.looking["hanging"] = time.monotonic() - examination.SILENT_S_MAX - 1
        (check,) = (await examine(context, both))["hanging"]
        assert not check.ok and "does not answer" in check.detail
        released.set()
        while "hanging" in context.looking:
            await trio.sleep(0.01)
        assert all(check.ok for check in (await examine(context, both))["hanging"])

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
