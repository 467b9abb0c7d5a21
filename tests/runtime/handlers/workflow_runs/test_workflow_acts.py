"""What people do to runs of workflows: answer, stop, pause, resume; each at the version that they saw."""

from __future__ import annotations

from typing import Any

import trio

from maestro.model import events as e
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.protocol import messages as p
from tests.runtime.handlers.workflow_runs.workflow_store import STEPS, Place, failed
from tests.runtime.leading import OK


def test_an_approval_is_answered_once_and_the_same_answer_again_says_by_whom(place: Place) -> None:
    leader = place.lead("R1").go()
    assert failed(place, p.WorkflowAnswer("R1", "ship", True)).exit_code == 4
    assert failed(place, p.WorkflowAnswer("R1", "nothing", True)).exit_code == 3
    done = place.ask(p.WorkflowAnswer("R1", "ask", True, "fine"))
    assert (done.data["id"], place.notes()) == ("R1", [])
    place.ask(p.WorkflowAnswer("R1", "ask", True))
    assert place.notes()[0].startswith("ask was approved by cli:ann at 20")
    assert failed(place, p.WorkflowAnswer("R1", "ask", False)).exit_code == 4
    events = [event for event in place.store.log.read(0, 1000) if isinstance(event.fact, e.StepApproved)]
    assert [(event.fact.reason, event.actor) for event in events] == [("fine", "cli:ann")]  # type: ignore[union-attr]
    assert leader.run.asking


def test_two_approvals_at_once_pass_one(place: Place) -> None:
    """The second finds the run changed under it, reads it again, and has nothing to say any more."""
    place.lead("R1").go()
    notes: list[list[str]] = []

    async def both() -> None:
        async with open_context(place.settings, checked=False) as context, trio.open_nursery() as nursery:
            for _ in range(2):
                notes.append([])

                async def send(frame: Any, said: list[str] = notes[-1]) -> None:
                    said.append(frame.text)

                command = p.WorkflowAnswer("R1", "ask", True)
                nursery.start_soon(HANDLERS[p.WorkflowAnswer], place.call(context, send), command)

    trio.run(both)
    assert sorted(map(len, notes)) == [0, 1]
    events = [event for event in place.store.log.read(0, 1000) if event.type == "workflow_step.approved"]
    assert len(events) == 1


def test_a_run_is_stopped_and_a_workflow_only_after_its_runs_were_shown(place: Place) -> None:
    first, second = place.lead("R1").go(), place.lead("R2").go()
    done = place.ask(p.WorkflowStop("deploy"))
    assert [row["id"] for row in done.data["runs"]] == ["R2", "R1"]
    assert not any(event.type == "workflow_run.ending" for event in place.store.log.read(0, 1000))
    place.ask(p.WorkflowStop("R1", reason="wrong branch"))
    place.ask(p.WorkflowStop("R1"))
    assert place.notes() == ["run R1 is being stopped already"]
    place.ask(p.WorkflowStop("deploy", ["R1", "R2"]))
    assert [row["id"] for row in place.items()] == ["R1", "R2"]
    endings = [event.fact for event in place.store.log.read(0, 1000) if isinstance(event.fact, e.WorkflowRunEnding)]
    assert [(fact.run, fact.status, fact.why) for fact in endings] == [
        ("R1", "cancelled", "wrong branch"),
        ("R2", "cancelled", "asked"),
    ]
    for leader, fact in zip((first, second), endings, strict=True):
        leader.run.apply(fact, leader.now)
        leader.go()
    assert place.ask(p.WorkflowStop("deploy", ["R1"])).exit_code == 0
    assert place.notes() == ["run R1 has ended meanwhile: cancelled"]
    assert failed(place, p.WorkflowStop("R1")).exit_code == 4
    assert failed(place, p.WorkflowStop("deplay")).exit_code == 3


def test_acting_on_a_run_takes_its_whole_id(place: Place) -> None:
    place.lead("01JRUN").go()
    for command in (
        p.WorkflowStop("01JR"),
        p.WorkflowPause("01JR"),
        p.WorkflowResume("01JR"),
        p.WorkflowAnswer("01JR", "ask", True),
    ):
        error = failed(place, command)
        assert (error.exit_code, "01JRUN" in error.mend) == (3, True), command


def test_a_paused_run_goes_on_and_one_whose_budget_is_used_up_only_with_more(place: Place) -> None:
    keys = {**STEPS, "budget": {"tokens": 100}}
    leader = place.lead("R1", keys=keys, ends={"build": [OK._replace(tokens=100)]}).go()
    assert leader.run.paused == "budget"
    error = failed(place, p.WorkflowResume("R1"))
    assert error.exit_code == 4
    assert "--add-budget" in error.mend
    assert failed(place, p.WorkflowResume("R1", add_cost=5)).exit_code == 2
    row = place.ask(p.WorkflowResume("R1", add_tokens=50)).data
    assert (row["status"], row["paused"]) == ("running", None)
    row = place.ask(p.WorkflowPause("R1")).data
    assert (row["status"], row["paused"]) == ("paused", "asked")
    place.ask(p.WorkflowPause("R1"))
    assert place.notes() == ["run R1 is paused already"]
    place.ask(p.WorkflowResume("R1"))
    place.ask(p.WorkflowResume("R1"))
    assert place.notes() == ["run R1 is not paused"]
