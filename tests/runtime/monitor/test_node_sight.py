"""What a node sees of itself: a store that becomes unsafe, or does not tell, and disks of which one hangs."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from maestro.config import Settings
from maestro.model.errors import MaestroError
from maestro.model.monitoring.sights import SeenDisk
from maestro.runtime.monitor import node_sight
from maestro.runtime.monitor.node_sight import DISKS, NodeSight
from maestro.runtime.node.context import Context
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore

SAFE = {"server": "valkey", "version": "8.0.0", "role": "primary", "eviction": "noeviction", "aof": "on"}


class ToldStore(MemoryStore):
    """A store in memory that tells of itself what a server might."""

    facts: dict[str, str] | None = None

    def describe(self) -> dict[str, str]:
        if self.facts is None:
            raise MaestroError("the store refuses this user", mend="give it the right")
        return self.facts


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    told = SimpleNamespace(
        archive_url=None, home=tmp_path, workspace_root=tmp_path, redis_url="redis://there", sources={}
    )
    return cast(Settings, told)


def test_a_store_is_safe_only_where_it_tells_so(settings: Settings) -> None:
    async def story() -> None:
        store = ToldStore("seen")
        async with Gateway(store) as gateway:
            context = Context(settings, "n", store, gateway)
            sight = NodeSight(context)

            async def look(facts: dict[str, str] | None) -> tuple[str, str, str]:
                store.facts, sight._asked_at = facts, 0.0  # as if the last look were long ago
                await sight.look()
                seen = context.seen_store
                assert seen is not None
                return sight.value["store"], seen.mend, seen.note

            unsafe = (
                "maxmemory-policy allkeys-lru may drop parts of the log",
                "CONFIG SET maxmemory-policy noeviction",
            )
            unknown = "it does not tell whether it is safe: the store refuses this user"
            assert await look(SAFE) == ("", "", "")
            assert await look(None) == ("", "give it the right", unknown)
            assert (await look(SAFE | {"eviction": "allkeys-lru"}))[:2] == unsafe
            assert (await look(None))[:2] == unsafe, "what was found stays"
            assert await look(SAFE) == ("", "", "")
            warned, mend, note = await look(SAFE | {"aof": "off"})
            assert not warned and mend and "append-only" in note

    trio.run(story)


def test_a_disk_that_hangs_holds_up_one_thread_and_is_told_as_low(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def look(folder: str) -> SeenDisk:
        released.wait()
        return SeenDisk(folder, 500 << 20, 1000 << 20)

    monkeypatch.setattr(node_sight, "disk_of", look)
    monkeypatch.setattr(node_sight, "ANSWER_S_MAX", 0.05)

    async def story() -> None:
        store = ToldStore("seen")
        store.facts = SAFE
        async with Gateway(store) as gateway:
            context = Context(settings, "n", store, gateway)
            sight = NodeSight(context)
            await sight.look()
            threads = threading.active_count()
            await trio.sleep(0.1)
            await sight.look()
            assert threading.active_count() == threads and "disk_low" not in sight.value
            context.looking[DISKS] = time.monotonic() - node_sight.SILENT_S_MAX - 1
            await sight.look()
            assert "does not answer" in sight.value["disk_low"]
            released.set()
            while DISKS in context.looking:
                await trio.sleep(0.01)
            monkeypatch.setattr(node_sight, "ANSWER_S_MAX", 5.0)
            await sight.look()
            assert (sight.value["disk_low"], sight.value["disk_free_bytes"]) == ("", str(500 << 20))

    trio.run(story)
