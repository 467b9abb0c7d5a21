"""A retried task, and what it depends on, are in the plan once its event was read: nothing else wakes the scheduler."""

from __future__ import annotations

import trio

from maestro.model import events as e
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from projections.view_reader import Views


def test_what_a_retried_task_depends_on_is_looked_up_with_it() -> None:
    store = MemoryStore("retried")
    tell(store, "a", e.TaskDispatched("a", "x", "x", ("w",)), e.TaskFinished("a", "completed", "ok"))
    waits = e.TaskDispatched("b", "x", "x", ("w",), depends_on=("a",))
    tell(store, "b", waits, e.TaskFinished("b", "skipped", "skipped"))

    async def follow() -> Follower:
        async with Gateway(store) as gateway:
            follower = Follower(gateway, Views(store), 60)
            await follower.load()
            tell(store, "b", e.TaskRetried("b"))
            await follower._take(store.log.read(follower.seq, 100))
            return follower

    plan = trio.run(follow).plan
    assert "b" in plan.tasks and not plan.missing
    assert not plan.dependencies.unmet["b"]


def tell(store: MemoryStore, task: str, *facts: e.AnyFact) -> None:
    """Append these events of a task."""
    events = tuple(e.NewEvent(f"task:{task}", fact) for fact in facts)
    store.log.commit([Append(events, "test", "")], None)
