"""Whose a folder was until a restore took it, as the log proves it."""

from __future__ import annotations

import tracemalloc

from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.model.orphaned import Holding, orphaned
from maestro.store.memory.memory_store import MemoryStore
from tests.projections.histories import commit, restore


class Told:
    """A log of assignments and restores, and what it says."""

    def __init__(self) -> None:
        self.store = MemoryStore("t")

    def assign(self, agent: str, place: str | None, node: str | None = "here") -> int:
        fact = e.AgentAssigned(agent, "shell", {}, "/root", place, "", 3, node)
        return commit(self.store, NewEvent(f"agent:{agent}", fact)).last

    def restore(self, to: int) -> int:
        return restore(self.store, to, name=f"r{self.store.log.head().seq}")

    def found(self) -> set[Holding]:
        return orphaned(self.store.log.read(0, 100), "here")


def test_a_restore_orphans_what_agents_had_and_one_that_gives_it_back_ends_that() -> None:
    told = Told()
    told.assign("ann", "/a")
    first = told.assign("ben", "/b")
    moved = told.assign("ann", "/c")
    assert told.found() == set()
    done = told.restore(first)
    assert told.found() == {("ann", "/c")}
    told.restore(0)
    assert told.found() == {("ann", "/a"), ("ann", "/c"), ("ben", "/b")}
    told.restore(moved)
    assert told.found() == {("ann", "/a")}
    told.restore(done)
    assert told.found() == {("ann", "/c")}


def test_what_a_user_moved_an_agent_away_from_is_nobodys_and_so_is_what_another_got_since() -> None:
    told = Told()
    told.assign("ann", "/a")
    told.assign("ann", "/b")
    told.restore(0)
    assert told.found() == {("ann", "/b")}
    told.assign("cy", "/b")
    assert told.found() == set()
    told.assign("cy", None)
    assert told.found() == set()


def test_folders_of_other_nodes_do_not_count() -> None:
    told = Told()
    told.assign("ann", "/a", "there")
    told.assign("ben", "/b", None)
    told.restore(0)
    assert told.found() == {("ben", "/b")}


def test_eight_times_as_many_agents_take_no_copies_of_all_holdings() -> None:
    """All holdings were copied, and kept, for each assignment."""

    def peak(agents: int) -> int:
        facts = (e.AgentAssigned(f"a{one}", "shell", {}, "/root", f"/w{one}", "", 3, "here") for one in range(agents))
        log = [Event(one, f"agent:{fact.agent}", 0, "", "", 0, fact) for one, fact in enumerate(facts, 1)]
        tracemalloc.start()
        orphaned(log, "here")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(1600) < 20 * peak(200)  # a dictionary grows by leaps; with copies it is 64 times as much
