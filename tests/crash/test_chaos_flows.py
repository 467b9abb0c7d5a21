"""Runs of workflows whose daemon is killed again and again; `tools/chaos/run --workflows` runs more of them."""

from __future__ import annotations

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.workflow.definition import Workflow
from tools.chaos.flows import attempts, of_workflows

STARTED = e.WorkflowRunStarted("r", "flow", 1, "{}", key="k")
FINISHED = e.WorkflowRunFinished("r", "completed", "ok")
BEGUN = e.StepStarted("r", "a", 1, "t")
ENDED = e.StepEnded("r", "a", "completed", "ok")
TASK = e.TaskDispatched("t", "go", "go", ("w",), workflow="r", step="a")
RELEASED = e.RunReleased("t-0.1", "t", 0, 1, "w", "n", 60.0, 1)
GOOD = (STARTED, BEGUN, TASK, RELEASED, ENDED, FINISHED)


def log(*facts: AnyFact) -> list[Event]:
    return [Event(seq, "x:y", seq, "test", "cmd:1", 0, fact) for seq, fact in enumerate(facts, 1)]


def test_every_breach_of_a_run_is_told() -> None:
    assert list(of_workflows({"k": "r"}, log(*GOOD))) == []
    for bad, told in (
        (GOOD[:-1], "the run r has finished 0 times"),
        ((*GOOD, FINISHED), "the run r has finished 2 times"),
        ((*GOOD, e.WorkflowRunStarted("s", "flow", 1, "{}", key="k"), e.WorkflowRunFinished("s", "failed")), "key k"),
        ((*GOOD, TASK), "attempts and their tasks differ"),
        ((*GOOD, BEGUN), "attempts and their tasks differ"),
        ((*GOOD, RELEASED), "ran 2 times and was lost 0 times"),
    ):
        assert told in "\n".join(of_workflows({"k": "r"}, log(*bad))), told
    lost = e.RunEnded("t-0.1", "t", "w", "lost")
    assert list(of_workflows({"k": "r"}, log(*GOOD, lost, RELEASED))) == []


def test_every_attempt_and_round_too_many_is_told() -> None:
    again = {"from": "a", "until": "false", "max": 1}
    steps = {"steps": [{"id": "a", "run": "true", "again": again, "retries": 1}]}
    flows = {"r": msgspec.convert(steps, Workflow)}
    twice = (BEGUN, ENDED, BEGUN, ENDED, e.LoopTurned("r", "a", 1, again=True))
    assert list(attempts(flows, log(*twice))) == []
    assert "began 3 times (2 may)" in "\n".join(attempts(flows, log(*twice, BEGUN, ENDED)))
    assert "and ended 1 times" in "\n".join(attempts(flows, log(BEGUN, ENDED, BEGUN)))
    assert "turned 2 times" in "\n".join(attempts(flows, log(*twice, e.LoopTurned("r", "a", 2, again=True))))
