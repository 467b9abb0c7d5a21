"""The plan follows every fact of a task and of its runs: one that it passed over would leave the row's version behind,
so that the log refuses the end of the task for ever.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.agent import CHANGES, Agent, AgentType
from maestro.model.events import FACTS, AnyFact
from maestro.model.scheduling.plan import Plan
from projections import agents

SUBJECTS = ("task", "run")
KNOWN: dict[str, Any] = {
    "task": "t",
    "run": "t-0.1",
    "agent": "a",
    "node": "n",
    "slot": 0,
    "targets": ["a"],
    "options": [],
}
PLAIN: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "bool": False}


def facts_of_tasks() -> dict[str, type[AnyFact]]:
    """The facts whose subject is a task or a run, by name: so their names say, or their docstrings."""
    told = tuple(f"`{subject}:" for subject in SUBJECTS)
    return {
        name: fact
        for name, fact in FACTS.items()
        if name.partition(".")[0] in SUBJECTS or (fact.__doc__ or "").startswith(told)
    }


def sample(fact: type[AnyFact]) -> AnyFact:
    """A fact about the task `t`, with the least in its other fields."""
    needed = [field for field in msgspec.structs.fields(fact) if field.required]
    values = {field.name: KNOWN.get(field.name, PLAIN.get(getattr(field.type, "__name__", ""), "")) for field in needed}
    return msgspec.convert(values, fact)


def follows(fact: type[AnyFact]) -> bool:
    """Whether a plan that holds the task `t` takes the fact in: as its last reason to look at the task, or its end."""
    plan = Plan()
    if fact is not e.TaskDispatched:
        plan.apply(e.Event(1, "task:t", 1, "", "", 0, sample(e.TaskDispatched)))
    subject = "run:t-0.1" if "run" in fact.__struct_fields__ else "task:t"
    plan.apply(e.Event(2, subject, 2, "", "", 1, sample(fact)))
    return "t" not in plan.tasks or plan.because["t"] == 2


@pytest.mark.parametrize("name", sorted(facts_of_tasks()))
def test_the_plan_follows_every_fact_of_a_task(name: str) -> None:
    assert follows(FACTS[name]), f"`Plan.apply` of model/scheduling/plan.py passes {name} over"


def test_the_agents_of_a_plan_are_those_of_the_view() -> None:
    assigned = e.Event(1, "agent:a", 1, "", "", 0, e.AgentAssigned("a", "code", {}, "/r", "/w", node="n"))
    for fact in CHANGES:
        plan, rows = Plan(), dict[str, Agent | AgentType]()
        for event in (assigned, e.Event(2, "agent:a", 2, "", "", 1, sample(fact))):
            plan.apply(event)
            agents.folds(rows)[type(event.fact)](event)
        assert plan.agents == {"a": rows["agent:a"]}, f"`Plan.apply` of model/scheduling/plan.py passes {fact} over"


def test_a_fact_that_is_passed_over_would_be_noticed() -> None:
    assert len(facts_of_tasks()) >= 10
    assert not follows(e.StateDeleted) and not follows(e.AgentStopped)
