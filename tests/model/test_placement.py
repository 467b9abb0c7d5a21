"""The claim of a place: appended with an assignment at the version of all places that the guards compared it with."""

from __future__ import annotations

from typing import cast

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.events import Event, NewEvent
from maestro.model.placement import HOMES_MAX, PLACES, Home, Homes, decide_claim, left_since, settle, stranded
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


def homes(*places: tuple[str, str] | None) -> Homes | None:
    """The homes of agent `a` after assignments to these places, given as (node, workspace), in turn; None for none."""
    row: Homes | None = None
    for number, place in enumerate(places, 1):
        node, workspace = place or (None, None)
        fact = e.AgentAssigned("a", "shell", {}, "/w", workspace, node=node)
        row = settle(row, Event(number, "agent:a", number * 10, "", "", 0, fact))
    return row


A1, B1, B2 = ("a", "/1"), ("b", "/1"), ("b", "/2")


def test_an_agent_keeps_the_homes_that_it_has_left_each_with_its_times() -> None:
    row = homes(A1, A1, B1, None, A1)
    assert row is not None and row.moved
    assert row.homes == [Home("b", "/1", 30, 40), Home("a", "/1", 50)]
    assert homes(None) is None and not cast(Homes, homes(A1)).moved


def test_no_more_than_the_newest_homes_are_kept() -> None:
    row = homes(*(("a", f"/{number}") for number in range(HOMES_MAX + 5)))
    assert row is not None and len(row.homes) == HOMES_MAX and row.homes[0].workspace == "/5"


def placed(name: str, node: str, workspace: str) -> Agent:
    return Agent(name, 1, "shell", {}, "/w", workspace, node=node)


def test_stranded_is_what_lies_on_another_node_than_its_agent_also_where_a_restore_took_the_agent_back() -> None:
    rows = [cast(Homes, homes(A1, B1, B2))]
    on_b, on_a, other = placed("a", *B2), placed("a", *A1), placed("o", *B1)
    assert stranded(rows, [on_b], ["a", "b"]) == [("a", Home("a", "/1", 10, 20))]
    back = stranded(rows, [on_a], ["a", "b"])
    assert back == [("a", Home("b", "/1", 20, 30)), ("a", Home("b", "/2", 30))]
    assert stranded(rows, [on_a, other], ["a", "b"]) == [("a", Home("b", "/2", 30))]
    assert stranded(rows, [on_b], ["b"]) == [], "a node that is given up counts no more"
    assert stranded(rows, [], ["a", "b"]) == [], "an agent that is not there any more"


def test_what_an_agent_did_behind_an_archive_lies_in_each_folder_that_it_has_left_since() -> None:
    """Behind a second failover, newer work lay in the folder of the first as well, and nobody said so."""
    row, on = homes(A1, B1, ("c", "/3")), World(node("c"), agent("a", node="c")).agent("a")
    left = {since: [home.node for home in left_since(row, on, since)] for since in (10, 20, 29, 30)}
    assert left == {10: ["b", "a"], 20: ["b"], 29: ["b"], 30: []}
    assert left_since(None, on, 0) == []
