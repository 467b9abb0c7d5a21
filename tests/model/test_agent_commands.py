"""Register, assign, stop, restart, reset, health; hold and resume of nodes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.agent import (
    Assignment,
    decide_assign,
    decide_register,
    decide_reset,
    decide_restart,
    decide_stop,
    evolve_type,
    provisional,
)
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import Event, NewEvent
from maestro.model.node import decide_hold, decide_lost, decide_resume
from maestro.model.scheduling.endings import decide_stranded
from tests.model.facts import World, agent, node, task

WANTED = Assignment("a", "code", {}, "/r", "/w/a", node="n")


def wanted(**fields: Any) -> Assignment:
    """WANTED, but."""
    return msgspec.structs.replace(WANTED, **fields)


def running() -> World:
    """Agent `a` runs task `t` on node `n`."""
    world = World(node("n"), node("m"), agent("a"), task("t"))
    world.decides()
    return world.starts("t-0.1")


# ---- register ----


def test_a_definition_is_registered_once_and_again_when_it_changes() -> None:
    fact = e.AgentRegistered("kilo", {"mode": "code"}, "/etc/kilo.yaml")
    (event,) = decide_register(fact, None)
    assert event == NewEvent("type:kilo", fact, 0)
    row = evolve_type(None, Event(7, "type:kilo", 5, "me", "", 0, fact))
    assert decide_register(fact, row) == []
    changed = e.AgentRegistered("kilo", {"mode": "ask"}, "/etc/kilo.yaml")
    assert decide_register(changed, row) == [NewEvent("type:kilo", changed, 7)]


def test_a_type_with_an_impossible_slug_is_invalid() -> None:
    with pytest.raises(Invalid):
        decide_register(e.AgentRegistered("a/b", {}), None)


# ---- assign ----


def test_a_first_assignment_makes_the_agent_with_the_default_priority() -> None:
    (event,) = decide_assign(WANTED, None)
    assert event == NewEvent("agent:a", e.AgentAssigned("a", "code", {}, "/r", "/w/a", "", 3, "n"), 0)
    assert provisional(agent("a")).state == "idle"


def test_assigning_again_updates_what_is_named_and_keeps_the_rest() -> None:
    world = World(node(), agent("a", role="review", priority=2))
    (event,) = decide_assign(wanted(workspace=None, node=None, priority=5), world.agent("a"))
    assert event == NewEvent("agent:a", e.AgentAssigned("a", "code", {}, "/r", "/w/a", "review", 5, "n"), 2)


def test_it_moves_the_agent_and_makes_a_stopped_or_unhealthy_one_take_work() -> None:
    world = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("disk",)), e.AgentStopped("a"))
    (event,) = decide_assign(wanted(workspace="/w/new"), world.agent("a"))
    world.happens(event.fact)
    assert world.agent("a").workspace == "/w/new"
    assert world.agent("a").state == "idle"


def test_a_running_agent_is_not_moved_but_may_have_another_role() -> None:
    world = running()
    with pytest.raises(Refused, match="runs task t"):
        decide_assign(wanted(workspace="/w/new"), world.agent("a"))
    assert decide_assign(wanted(role="review"), world.agent("a"))


def test_an_agent_stranded_on_a_lost_node_is_moved_and_its_run_given_up_in_one_append() -> None:
    world = running().happens(e.NodeLost("n"))
    found = world.plan.run("t-0.1")
    assert found is not None
    events = decide_assign(wanted(node="m"), world.agent("a"), decide_stranded(*found))
    assert [event.expected for event in events] == [6, 3]
    world.happens(*(event.fact for event in events))
    assert world.releases() == [("t-0.2", "a")]
    assert world.slot("t").runs[-1].node == "m"


def test_a_second_instance_of_a_type_needs_a_name_of_its_own() -> None:
    world = World(node(), agent("a", type="other"))
    with pytest.raises(Refused, match="--name"):
        decide_assign(WANTED, world.agent("a"))


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": "a b"},
        {"agent": ".."},
        {"priority": 0},
        {"priority": 6},
        {"role": "a\nb"},
        {"workspace": "relative"},
        {"workspace": "/a\0b"},
        {"node": None},
        {"node": "a/b"},
    ],
)
def test_an_impossible_assignment_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        decide_assign(wanted(**fields), None)
    assert "\n" not in caught.value.line()


# ---- stop, restart, reset, health ----


def test_an_agent_is_stopped_once_and_again_while_its_run_lasts() -> None:
    world = running()
    (event,) = decide_stop("a", world.agent("a"), "lunch")
    assert event == NewEvent("agent:a", e.AgentStopped("a", "lunch"), 3)
    world.happens(event.fact)
    assert world.agent("a").state == "active"
    assert decide_stop("a", world.agent("a"), force=True)
    world.ends("t-0.1", "cancelled")
    assert world.agent("a").state == "stopped"
    assert decide_stop("a", world.agent("a")) == []
    (event,) = decide_restart("a", world.agent("a"))
    assert world.happens(event.fact).agent("a").state == "idle"


def test_a_reset_waits_until_no_run_holds_the_agent() -> None:
    world = running()
    with pytest.raises(Refused):
        decide_reset("a", world.agent("a"))
    world.ends("t-0.1").happens(e.AgentStopped("a"))
    (event,) = decide_reset("a", world.agent("a"), "snap")
    assert event.fact == e.AgentReset("a", "snap")
    assert world.happens(event.fact).agent("a").state == "idle"


def test_after_a_restore_agents_are_changed_at_the_floor() -> None:
    row = World(node(), agent("a")).agent("a")
    assert decide_stop("a", row, floor=40)[0].expected == 40
    assert decide_assign(WANTED, row, floor=40)[0].expected == 40


def test_commands_on_no_agent_find_none() -> None:
    for command in (decide_stop, decide_restart, decide_reset):
        with pytest.raises(NotFound, match="ghost"):
            command("ghost", None)


# ---- nodes ----


def test_a_node_is_held_until_it_is_resumed_whatever_its_daemon_does() -> None:
    world = World(node())
    (event,) = decide_hold(world.log.fold().nodes["n"], "shutdown")
    world.happens(event.fact, e.NodeLeft("n"), node())
    row = world.log.fold().nodes["n"]
    assert row.held
    assert row.status == "up"
    assert decide_hold(row, "again") == []
    (event,) = decide_resume({"n": row}, [provisional(agent("a"))], "", "up")
    assert event == NewEvent("node:n", e.NodeResumed("n", "up"))
    assert decide_resume(world.happens(event.fact).log.fold().nodes, [provisional(agent("a"))], "n", "up") == []


def test_a_node_is_lost_once() -> None:
    world = World(node())
    (event,) = decide_lost(world.log.fold().nodes["n"], "its lease ran out")
    assert event.expected == 1
    for decide in (decide_lost, decide_hold):
        (late,) = decide(world.log.fold().nodes["n"], "after a restore", 9)
        assert late.expected == 9, "else the log would refuse it for ever"
    assert decide_lost(world.happens(event.fact).log.fold().nodes["n"], "again") == []
