"""What people ask of a run: answers to approvals, a stop, a pause, going on."""

from __future__ import annotations

from typing import Any

import pytest

from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.facts.workflow import (
    StepApproved,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunPaused,
    WorkflowRunResumed,
)
from maestro.model.workflow.commands import addition, decide_approval, decide_pause, decide_resume, decide_stop
from maestro.model.workflow.folding.endings import End
from tests.model.workflow.scripted import Scripted
from tests.model.workflow.test_run import again, flow, step

GATE: dict[str, Any] = {"id": "gate", "approval": True}


def test_an_approval_is_answered_once_and_the_same_answer_again_says_by_whom() -> None:
    life = Scripted(flow(GATE, step("b", "gate"))).go()
    decided = decide_approval(life.run, "gate", True, "fine")
    assert (decided.facts, decided.note) == ((StepApproved("r", "gate", True, "fine"),), "")
    life.run.apply(decided.facts[0], 2_000, "ada")
    again = decide_approval(life.run, "gate", True, when=lambda at: f"t{at}")
    assert (again.facts, again.note) == ((), "gate was approved by ada at t2000: fine")
    with pytest.raises(Refused, match="gate was approved by ada at 2000: fine, and cannot be rejected now") as refused:
        decide_approval(life.run, "gate", False)
    assert refused.value.exit_code == 4
    life.go()
    assert decide_approval(life.run, "gate", True).note  # also when the run has ended


def test_a_step_means_its_round_that_waits_else_the_newest() -> None:
    keys = flow(step("fix"), {**GATE, "needs": ["fix"], "again": again("fix", 3)})
    life = Scripted(keys, until={"gate": [False, True]}).go()
    life.approve("gate")
    life.go()
    assert life.run.asking == {"gate": 0}
    assert decide_approval(life.run, "gate", True).instance == "gate#2"
    assert "gate was approved" in decide_approval(life.run, "gate#1", True).note
    life.approve("gate#2")
    assert decide_approval(life.run, "gate", True).instance == "gate#2"


@pytest.mark.parametrize(
    ("name", "kind", "what", "mend"),
    [
        ("gat", NotFound, "run r has no step 'gat'", "did you mean gate?"),
        ("no such", NotFound, "run r has no step 'no such'", "the steps are a, gate, other, each"),
        ("a", Refused, "step a asks nobody", "these do: gate, other, each"),
        ("gate", Refused, "step gate does not wait for an answer yet", "it waits for: other"),
        ("other#2", Refused, "step other#2 does not wait for an answer yet", "it waits for: other"),
        ("each[1]", Refused, "step each asks once for all its items", "name it each"),
    ],
)
def test_what_cannot_be_answered_is_told(name: str, kind: type[MaestroError], what: str, mend: str) -> None:
    each = {**step("each", "gate", for_each="x"), "approval": True}
    life = Scripted(flow(step("a"), {**GATE, "needs": ["a"]}, {"id": "other", "approval": True}, each))
    life.go(lambda life: bool(life.run.asking))
    with pytest.raises(kind) as error:
        decide_approval(life.run, name, True)
    assert (error.value.what, error.value.mend) == (what, mend)


def test_an_approval_of_a_run_that_has_ended_or_is_about_to_cannot_be_given() -> None:
    life = Scripted(flow(GATE, step("z"), **{"finally": "z"})).go()
    life.tell(WorkflowRunEnding("r", "cancelled", "asked", stops=True))
    with pytest.raises(Refused, match="is about to end: cancelled"):
        decide_approval(life.run, "gate", True)
    with pytest.raises(Refused, match="has ended: cancelled"):
        decide_approval(life.go().run, "gate", True)


def test_time_that_answered_is_named() -> None:
    life = Scripted(flow({"id": "gate", "approval": {"timeout": 5}})).go()
    assert decide_approval(life.run, "gate", False).note.startswith("gate was rejected by its timeout at")


def test_a_run_is_stopped_once_and_what_runs_at_its_end_once_more() -> None:
    life = Scripted(flow(step("a"), step("z"), **{"finally": "z"}))
    life.go(lambda life: bool(life.run.working))
    stop = decide_stop(life.run).facts[0]
    assert stop == WorkflowRunEnding("r", "cancelled", "asked", stops=True)
    life.tell(stop)
    assert decide_stop(life.run).note == "run r is being stopped already"
    life.go(lambda life: "z" in life.run.working)
    assert decide_stop(life.run).facts
    life.go()
    with pytest.raises(Refused, match="run r has ended: cancelled"):
        decide_stop(life.run)


def test_a_pause_over_that_of_the_budget_is_one_that_was_asked_for() -> None:
    life = Scripted(flow(step("a"), step("b", "a"), budget={"tokens": 5}), {"a": [End("completed", "ok", tokens=5)]})
    life.go()
    assert life.run.paused == "budget"
    life.tell(decide_pause(life.run).facts[0])
    assert (life.run.paused, decide_pause(life.run).note) == ("asked", "run r is paused already")
    life.tell(WorkflowRunFinished("r", "cancelled"))
    with pytest.raises(Refused, match="has ended"):
        decide_pause(life.run)


def test_a_run_over_its_budget_goes_on_with_an_addition_above_what_is_spent_only() -> None:
    keys = flow(step("a"), step("b", "a"), budget={"tokens": 100, "cost": 1.0})
    life = Scripted(keys, {"a": [End("completed", "ok", tokens=130, cost=0.5)]}).go()
    with pytest.raises(Refused) as refused:
        decide_resume(life.run)
    assert refused.value.line() == (
        "run r: 130 of 100 tokens are used; add more than that: maestro workflow resume r --add-budget tokens=31"
    )
    with pytest.raises(Refused):
        decide_resume(life.run, tokens=30)
    with pytest.raises(Refused):
        decide_resume(life.run, tokens=31, usage=(5, 0.0))
    with pytest.raises(Refused, match=r"cost=0\.0"):
        decide_resume(life.run, tokens=31, usage=(0, 0.5))
    decided = decide_resume(life.run, tokens=31)
    assert decided.facts == (WorkflowRunResumed("r", 31, 0.0),)
    life.tell(decided.facts[0])
    assert life.go().run.status == "completed"


@pytest.mark.parametrize("added", [{"tokens": -1}, {"tokens": 5}, {"cost": float("nan")}, {"cost": float("inf")}])
def test_an_addition_to_no_budget_is_refused(added: Any) -> None:
    life = Scripted(flow(step("a"), budget={"cost": 1}))
    life.tell(WorkflowRunPaused("r"))
    with pytest.raises(Invalid) as invalid:
        decide_resume(life.run, **added)
    assert invalid.value.exit_code == 2


def test_a_run_that_is_not_paused_can_be_given_more_and_else_is_left_alone() -> None:
    life = Scripted(flow(step("a"), budget={"cost": 1}))
    assert decide_resume(life.run).note == "run r is not paused"
    assert decide_resume(life.run, cost=2.0).facts == (WorkflowRunResumed("r", 0, 2.0),)


@pytest.mark.parametrize("budget", [{"tokens": 100}, {"cost": 1.0}, {"tokens": 100, "cost": 1.0}, {"cost": 0.0004}])
@pytest.mark.parametrize(("tokens", "cost"), [(100, 1.0), (130, 0.2), (99, 19.504), (9_000, 1e6)])
def test_the_addition_that_is_named_lets_a_run_go_on_whichever_budget_is_used_up(
    budget: dict[str, Any], tokens: int, cost: float
) -> None:
    keys = flow(step("a"), step("b", "a"), budget=budget)
    life = Scripted(keys, {"a": [End("completed", "ok", tokens=tokens, cost=cost)]})
    life.go()
    named = addition(life.run)
    assert bool(named) == (life.run.paused == "budget")
    assert {part.partition("=")[0] for part in named.split(",") if part} <= budget.keys()
    if named:
        added = {name: float(number) for name, _, number in (part.partition("=") for part in named.split(","))}
        assert decide_resume(life.run, int(added.get("tokens", 0)), added.get("cost", 0.0)).facts
