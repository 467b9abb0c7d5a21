"""Rows that are asked for again and again are read again after an event only."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.node import Node
from maestro.runtime.monitor.steady_rows import SteadyRows
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Listed
from tests.runtime.monitor.scheduled_place import settings_in


def test_rows_are_read_again_after_an_event_only_and_are_the_callers_to_change(tmp_path: Path) -> None:
    store = MemoryStore("t")
    reads = 0

    def join(node: str) -> None:
        fact = e.NodeJoined(node, node, f"{node}.1", 1, 4, "test")
        store.log.commit([Append((NewEvent(f"node:{node}", fact),), "test", "cmd:test", floors=True)], None)

    async def ask() -> list[list[str]]:
        async with Gateway(store) as gateway:
            context = Context(settings_in(tmp_path), "one", store, gateway)
            follower = Follower(gateway, context.views, 60)

            def nodes() -> Listed[Node]:
                nonlocal reads
                reads += 1
                return context.views.nodes()

            join("one")
            await follower.load()
            rows = SteadyRows(context, follower)
            first = await rows.rows(nodes)
            first[0].status = "lost"
            second = await rows.rows(nodes)
            join("two")
            await follower.load()
            return [[row.status for row in found] for found in (first, second, await rows.rows(nodes))]

    assert trio.run(ask) == [["lost"], ["up"], ["up", "up"]] and reads == 2
