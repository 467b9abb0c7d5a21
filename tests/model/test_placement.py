"""The claim of a place: appended with an assignment at the version of all places that the guards compared it with."""

from __future__ import annotations

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.placement import PLACES, decide_claim
from tests.model.facts import World, agent, node
from tests.model.history import Log


def test_a_new_or_moved_agent_claims_its_place() -> None:
    fact = agent("a")
    claim = e.WorkspaceClaimed("a", "/r", "/w/a", "n")
    assert decide_claim(fact, None, 7) == [NewEvent(PLACES, claim, 7)]
    row = World(node(), fact).agent("a")
    moved = agent("a", workspace="/w/b")
    assert decide_claim(moved, row, 7) == [NewEvent(PLACES, e.WorkspaceClaimed("a", "/r", "/w/b", "n"), 7)]


def test_one_that_keeps_its_place_is_in_nobodys_way() -> None:
    row = World(node(), agent("a")).agent("a")
    assert decide_claim(agent("a", role="review", priority=1), row, 7) == []


def test_one_without_a_workspace_claims_its_folder_of_runs() -> None:
    fact = agent("a", node=None)
    assert decide_claim(fact, None, 0) == [NewEvent(PLACES, e.WorkspaceClaimed("a", "/r"), 0)]


def test_of_two_that_saw_the_same_free_folder_the_log_refuses_one() -> None:
    log = Log()

    def assigning(name: str) -> list[NewEvent]:
        fact = agent(name, workspace="/w/same")
        return [NewEvent(f"agent:{name}", fact, 0), *decide_claim(fact, None, log.version(PLACES))]

    first, second = assigning("a"), assigning("b")
    assert log.append(first) is not None
    assert log.append(second) is None
    assert "b" not in log.fold().agents
    assert log.append(assigning("b")) is not None, "who looks again may try again"
