"""Why an agent is stopped is found by the links of its events, also where a restore has cut these."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.events import AgentHealthChanged, AgentStopped, AnyFact, NewEvent, RestoreDone, StateSet
from maestro.runtime.restores.stop_reason import last_stop
from maestro.store.contract import Append, Committed
from maestro.store.memory.memory_store import MemoryStore


def put(store: MemoryStore, *facts: tuple[str, AnyFact], floors: bool = False) -> int:
    events = tuple(NewEvent(subject, fact, None) for subject, fact in facts)
    done = store.log.commit([Append(events, "test", "cmd:x", floors=floors)], None)[0]
    assert isinstance(done, Committed)
    return done.last


def row(seq: int) -> Agent:
    return Agent(id="a", version=seq, type="shell", definition={}, workspace_root="", stopped=True)


def restored(store: MemoryStore, *stops: str) -> None:
    """A restore that leaves these agents stopped, and as many others that the search must read past."""
    many = [(f"agent:x{number}", AgentStopped(f"x{number}", "restore r")) for number in range(600)]
    here = [(f"agent:{name}", AgentStopped(name, "restore r")) for name in stops]
    put(store, ("restore:r", RestoreDone("r", 1)), *here, *many, floors=True)


def test_a_change_of_health_behind_a_restore_hides_no_stop_that_came_with_it() -> None:
    store = MemoryStore("t")
    put(store, ("agent:a", AgentStopped("a", "a user")))
    restored(store, "a")
    seq = put(store, ("agent:a", AgentHealthChanged("a", False, (), "restore r")))
    assert last_stop(store.log, row(seq)) == "restore r"
    seq = put(store, ("agent:a", AgentHealthChanged("a", True, (), "restore r")))
    assert last_stop(store.log, row(seq)) == "restore r"


def test_a_stop_of_before_is_not_taken_for_one_of_the_restore() -> None:
    store = MemoryStore("t")
    put(store, ("agent:a", AgentStopped("a", "restore q")), ("state:k", StateSet("k", "1")))
    restored(store, "b")
    seq = put(store, ("agent:a", AgentHealthChanged("a", False, (), "")))
    assert last_stop(store.log, row(seq)) == ""


def test_what_came_after_the_stop_counts() -> None:
    store = MemoryStore("t")
    put(store, ("agent:a", AgentStopped("a", "restore q")))
    seq = put(store, ("agent:a", AgentHealthChanged("a", False, ("node",), "node n is lost")))
    assert last_stop(store.log, row(seq)) == "restore q"
    assert last_stop(store.log, row(put(store, ("agent:a", AgentStopped("a", "asked"))))) == "asked"
