"""The follower: the agents of its plan are those of the view, or it says that it does not know them."""

from __future__ import annotations

import trio

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.events import NewEvent
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Views


def append(store: MemoryStore, subject: str, fact: e.AnyFact) -> None:
    store.log.commit([Append((NewEvent(subject, fact),), "test", "cmd:test", floors=True)], None)


def assign(store: MemoryStore, *names: str) -> None:
    for name in names:
        append(store, f"agent:{name}", e.AgentAssigned(name, "code", {"slug": "code"}, "/r", f"/w/{name}", node="n"))


def test_agents_of_the_plan_are_the_views_in_its_order_and_the_callers_to_keep() -> None:
    store = MemoryStore("t")
    assign(store, "b", "a", "c")
    append(store, "agent:a", e.AgentStopped("a", "for now"))

    async def ask() -> tuple[list[Agent] | None, list[Agent] | None, list[Agent]]:
        async with Gateway(store) as gateway, trio.open_nursery() as nursery:
            follower = Follower(gateway, Views(store), 60)
            await follower.load()
            nursery.start_soon(follower.run)
            before = await follower.agents()
            assign(store, "d", "b")
            append(store, "agent:c", e.AgentHealthChanged("c", False, ["binary"], "gone"))
            after = await follower.agents()
            nursery.cancel_scope.cancel()
        return before, after, Views(store).agents().rows

    before, after, rows = trio.run(ask)
    assert before is not None and sorted(agent.id for agent in before) == ["a", "b", "c"]
    assert [agent.healthy for agent in before] == [True, True, True]
    assert after == rows and [agent.id for agent in rows].count("d") == 1


def test_a_plan_that_is_not_at_the_end_of_the_log_or_of_another_one_knows_no_agents() -> None:
    store, other = MemoryStore("t"), MemoryStore("t")
    assign(store, "a")

    async def ask() -> list[list[Agent] | None]:
        async with Gateway(store) as gateway, Gateway(other) as erased:
            follower = Follower(gateway, Views(store), 60)
            await follower.load()
            assign(store, "b")
            behind = await follower.agents()  # it does not run, and so comes no further
            await follower.load()
            follower._gateway, follower._store = erased, other
            return [behind, await follower.agents()]

    assert trio.run(ask) == [None, None]
