"""The agents that a dispatch looks at: those that it names, and what is decided is what all of them would lead to."""

from __future__ import annotations

import pytest

from maestro.model.agent import Agent
from maestro.model.coordination.awaited_nodes import nodes_to_start
from maestro.model.dispatch import DispatchState, decide_dispatch
from maestro.model.errors import MaestroError
from maestro.model.events import AgentStopped, AnyFact, Event, NewEvent, NodeLeft, TaskDispatched
from maestro.model.scheduling.plan import Plan
from maestro.runtime.handlers.dispatch import _named
from tests.model.facts import agent, node
from tests.model.history import subject_of

AGENTS_MAX = 3


def planned() -> Plan:
    plan = Plan()
    many = (agent(f"other{number}", role="idler") for number in range(50))
    facts: tuple[AnyFact, ...] = (node(), agent("a", role="reviewer"), agent("b", role="reviewer"), agent("c"), *many)
    for fact in (*facts, AgentStopped("c"), NodeLeft("n", "stopped")):
        plan.apply(Event(plan.seq + 1, subject_of(fact), plan.seq + 1, "", "", 0, fact))
    return plan


def decided(plan: Plan, agents: dict[str, Agent], target: str) -> tuple[list[NewEvent] | str, dict[str, list[str]]]:
    wanted = TaskDispatched("t", "do it", "do it", (target,))
    state = DispatchState(list(agents.values()), nodes=plan.nodes, here="elsewhere", floor=plan.floor)
    try:
        return decide_dispatch(wanted, state), nodes_to_start(wanted, state)
    except MaestroError as error:
        return error.line(), nodes_to_start(wanted, state)


@pytest.mark.parametrize(
    "target", ["a", "c", "role:reviewer", "type:a", "nobody", "role:none", "role:reviewer,label:gpu"]
)
def test_a_dispatch_looks_at_the_agents_that_it_names(target: str) -> None:
    plan = planned()
    named = _named(plan, (target,))
    assert len(named) <= AGENTS_MAX < len(plan.agents)
    assert decided(plan, named, target) == decided(plan, plan.agents, target)
