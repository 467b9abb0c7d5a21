"""Everything that an assignment appends, in one decision: what runs is what is tested here."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.agent import Agent, AgentType, Assignment
from maestro.model.assignment import (
    AssignmentState,
    assigned_in,
    away_with_agent,
    decide_assignment,
    decide_first_use,
    stays_on,
    told_move,
)
from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.model.node import Node
from maestro.model.placement import PLACES
from tests.model.facts import World, agent, node, task

DEFINITION = {"slug": "code", "source": "code.yaml"}


def wanted(workspace: str | None = "/w/a", to: str | None = "n") -> Assignment:
    return Assignment("a", "code", DEFINITION, "/r", workspace, node=to)


def known(world: World, row: Agent | None = None, kind: AgentType | None = None) -> AssignmentState:
    running = world.plan.tasks.get(row.task) if row is not None else None
    return AssignmentState(row, kind, running, world.plan.nodes, places=7)


def test_a_new_agent_brings_its_type_and_claims_its_place() -> None:
    registered, assigned, claimed = decide_assignment(wanted(), known(World(node())))
    assert registered.fact == e.AgentRegistered("code", DEFINITION, "code.yaml")
    assert isinstance(assigned.fact, e.AgentAssigned) and assigned.fact.workspace == "/w/a"
    assert claimed == NewEvent(PLACES, e.WorkspaceClaimed("a", "/r", "/w/a", "n"), 7)


def test_a_type_that_is_registered_as_it_is_and_a_place_that_stays_say_nothing() -> None:
    world = World(node(), agent("a"))
    kind = AgentType("code", 1, DEFINITION, "code.yaml")
    (only,) = decide_assignment(wanted(), known(world, world.agent("a"), kind))
    assert isinstance(only.fact, e.AgentAssigned)


def test_a_move_from_a_lost_node_ends_the_run_there() -> None:
    world = World(node(), node("m"), agent("a"), task("t"))
    ((run, _),) = world.releases()
    world.starts(run).happens(e.NodeLost("n"))
    row = world.agent("a")
    moved = decide_assignment(wanted("/w/b", "m"), known(world, row))
    assert [type(event.fact) for event in moved] == [
        e.AgentRegistered,
        e.RunEnded,
        e.AgentAssigned,
        e.WorkspaceClaimed,
    ]
    with pytest.raises(Refused, match="node n is lost"):
        decide_assignment(wanted("/w/b"), known(world, row))
    stays = decide_assignment(wanted(None, None), known(world, row), stopped=True)
    assert isinstance(stays[-1].fact, e.AgentHealthChanged) and not stays[-1].fact.healthy


def test_an_agent_whose_workspace_is_gone_does_not_keep_it_unnamed() -> None:
    world = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("workspace",), "/w/a was there and is gone"))
    with pytest.raises(Refused, match="cannot keep its workspace"):
        decide_assignment(wanted(None, None), known(world, world.agent("a")))
    assert decide_assignment(wanted(), known(world, world.agent("a")))


def test_a_first_use_registers_each_type_and_claims_at_one_version() -> None:
    facts = [e.AgentAssigned(name, name, {"source": "built-in"}, "/r") for name in ("a", "b")]
    events = decide_first_use(facts, places=7, floor=3)
    assert [event.subject for event in events] == ["type:a", "agent:a", "type:b", "agent:b", PLACES, PLACES]
    assert [event.expected for event in events] == [None, 3, None, 3, 7, None]
    assert events[0].fact == e.AgentRegistered("a", {"source": "built-in"}, "built-in")
    assert decide_first_use([], places=7) == []


def test_known_says_which_nodes_are_lost() -> None:
    world = World(node(), node("m"), e.NodeLost("m"))
    assert all(isinstance(row, Node) for row in world.plan.nodes.values())
    assert known(world).lost == {"m"}


def test_an_agent_stays_on_its_node_unless_another_one_is_named_and_a_move_says_what_stays_behind() -> None:
    world = World(node(), node("m"), agent("a"))
    row = world.agent("a")
    assert (stays_on(row, None, "/w/b"), stays_on(row, "m", "/w/b"), stays_on(None, None, "/w/b")) == ("n", "", "")
    moved = assigned_in(decide_assignment(wanted("/w/b", "m"), known(world, row)))
    told = told_move(row, moved)
    assert "in /w/a stays on node n, and is not in /w/b" in told
    assert told.endswith("maestro agent assign code --name a --node n --to-workspace /w/a")
    assert not told_move(row, assigned_in(decide_assignment(wanted("/w/b"), known(world, row))))
    why = away_with_agent(row, world.plan.nodes["n"], "m")
    assert "on node n, which is away" in why.what and "--from-snapshot newest --node m" in (why.mend or "")
