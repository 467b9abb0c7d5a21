"""Whether a wish for a workspace stands, by the facts of its run behind it."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.workflow.run_header import evolve
from maestro.model.workflow.wishes import newest, standing

ARCHIVE = e.WorkspaceArchiveWanted("r", "fix", "n1", "/w", "ann")
BACK = e.WorkspaceRestoreWanted("r", "fix", "n1", "/w", "s-1", "ann")


def event(seq: int, fact: AnyFact) -> Event:
    return Event(seq, "workflow-run:r", seq, "a", "c", seq - 1, fact)


def after(wish: e.WorkspaceArchiveWanted | e.WorkspaceRestoreWanted, *facts: AnyFact) -> str:
    return standing(wish, [event(number, fact) for number, fact in enumerate(facts, 10)])


@pytest.mark.parametrize("wish", [ARCHIVE, BACK])
def test_it_stands_whatever_becomes_of_others(wish: e.WorkspaceArchiveWanted | e.WorkspaceRestoreWanted) -> None:
    other = e.StepEnded("r", "other", "completed")
    assert after(wish) == "open"
    assert after(wish, other, e.WorkspaceArchived("r", "fix#2"), e.WorkspaceReturned("r", "fix#2")) == "open"
    assert after(wish, wish, other, wish) == "open"
    assert after(wish, e.WorkflowRunEnding("r", "failed"), e.WorkflowRunPaused("r")) == "open"


def test_its_answer_ends_it_and_no_other() -> None:
    assert after(ARCHIVE, e.WorkspaceArchived("r", "fix", error="no room")) == "over"
    assert after(BACK, e.WorkspaceReturned("r", "fix")) == "over"
    assert after(BACK, e.WorkspaceArchived("r", "fix")) == "open"


def test_an_instance_that_went_on_or_wishes_something_else_has_no_use_for_it() -> None:
    assert after(BACK, e.StepStarted("r", "fix", 2)) == "over"
    assert after(ARCHIVE, e.StepEnded("r", "fix", "cancelled")) == "over"
    assert after(BACK, e.WorkspaceRestoreWanted("r", "fix", "n1", "/w", "s-2", "ann")) == "over"


def test_a_run_that_is_stopped_gets_an_answer_and_one_that_has_ended_none() -> None:
    stops = e.WorkflowRunEnding("r", "cancelled", stops=True)
    assert after(BACK, stops) == "stopped"
    assert after(BACK, stops, e.WorkspaceReturned("r", "fix")) == "over"
    assert after(BACK, stops, e.WorkflowRunFinished("r", "cancelled")) == "over"


def test_the_last_of_each_instance_here_is_found() -> None:
    other = e.WorkspaceArchiveWanted("r", "a", "n1", "/v")
    told = [other, ARCHIVE, e.WorkspaceArchiveWanted("r", "b", "n2", "/u"), BACK]
    events = [event(seq, fact) for seq, fact in enumerate(told, 1)]
    assert [found.fact for found in newest(events, "n1")] == [other, BACK]


def test_a_workspace_is_held_from_either_wish_to_the_end_of_the_instance() -> None:
    row = evolve(None, event(1, e.WorkflowRunStarted("r", "w", 1, "{}")))
    row = evolve(row, event(2, BACK))
    assert row is not None and row.held == {"fix": ("n1", "/w")}
    row = evolve(row, event(3, e.StepEnded("r", "fix", "failed", next="retry")))
    assert row is not None and row.held
    row = evolve(row, event(4, e.StepEnded("r", "fix", "completed")))
    assert row is not None and not row.held
