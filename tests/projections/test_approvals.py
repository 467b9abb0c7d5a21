"""The view of runs knows which approvals wait for a person, without the runs themselves."""

from __future__ import annotations

from maestro.model import events as e
from maestro.model.events import AnyFact, NewEvent
from maestro.store.contract import Store
from projections.view_reader import Views
from tests.projections.histories import commit


def of(run: str, *told: AnyFact) -> list[NewEvent]:
    return [NewEvent(f"workflow-run:{run}", fact) for fact in told]


def asking(store: Store) -> list[tuple[str, list[str]]]:
    """Runs with the steps that ask."""
    return [(run.id, sorted(run.asking)) for run in Views(store).runs_asking().rows]


def begun(run: str, parent: str = "") -> list[NewEvent]:
    ready = (e.StepReadied(run, "go", 1, approval="Go?"), e.StepReadied(run, "skip", 1, "skip", approval="Go?"))
    return of(run, e.WorkflowRunStarted(run, "deploy", 1, "{}", parent=parent), *ready, e.StepReadied(run, "build", 1))


def test_a_step_asks_from_being_ready_to_its_answer_in_children_too(store: Store) -> None:
    commit(store, *begun("w1"))
    commit(store, *begun("w2", parent="w1"))
    assert asking(store) == [("w1", ["go"]), ("w2", ["go"])]
    commit(store, *of("w1", e.StepApproved("w1", "go", True)))
    commit(store, *of("w2", e.StepReadied("w2", "go", 2, approval="Again?"), e.StepApproved("w2", "go#2", False)))
    assert asking(store) == []


def test_nobody_is_asked_by_a_run_that_ends(store: Store) -> None:
    commit(store, *begun("w1"))
    commit(store, *of("w1", e.WorkflowRunEnding("w1", "cancelled", "enough")))
    assert asking(store) == []
    commit(store, *begun("w2"))
    commit(store, *of("w2", e.WorkflowRunFinished("w2", "cancelled", "cancelled")))
    assert asking(store) == []
