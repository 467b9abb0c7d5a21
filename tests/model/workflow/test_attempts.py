"""Attempts of instances: their workspaces before them, the agents they stay with, what surrounds them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.model.facts.workflow import (
    StepEnded,
    StepStarted,
    WorkflowRunAdmitted,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunPaused,
    WorkflowRunResumed,
    WorkflowRunStarted,
    WorkspaceArchived,
    WorkspaceArchiveWanted,
)
from maestro.model.workflow.decide import Work, decide, due, unanswered
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End, ended_child
from maestro.model.workflow.run import Run
from tests.model.workflow.scripted import BAD, OK, Scripted
from tests.model.workflow.test_run import again, flow, step

RESTORE = {"max": 2, "backoff": 0, "workspace": "restore"}


def test_a_point_is_made_before_a_step_once() -> None:
    life = Scripted(flow(step("a", snapshot=True, retries=1)), {"a": [BAD]}).go()
    assert (life.told, life.log) == (["archive a"], ["a", "a"])


def test_each_new_attempt_finds_the_workspace_as_before_the_step() -> None:
    life = Scripted(flow(step("a", retries=RESTORE)), {"a": [BAD]}).go()
    assert life.told == ["archive a", "restore a to s1", "restore a to s1"]
    assert life.log == ["a", "a", "a"]


def test_the_next_agent_of_a_chain_gets_an_archive_of_its_own_and_begins_afresh() -> None:
    keys = flow({"id": "a", "agent": ["one", "two"], "prompt": "x", "retries": {**RESTORE, "continue": True}})
    ends = [BAD._replace(session="s-one", agent="one"), End("failed", "refused", agent="one"), BAD, OK]
    life = Scripted(keys, {"a": ends})
    seen: list[tuple[str, str, bool]] = []

    def look(life: Scripted) -> bool:
        for id in life.run.working:
            one = life.run.instances[id]
            fact = (one.agent, one.session, life.run.previous(one) is not None)
            if not seen or seen[-1] != fact:
                seen.append(fact)
        return False

    life.go(look)
    assert life.told == ["archive a", "restore a to s1", "archive a", "restore a to s2"]
    assert life.agents == ["one", "one", "two", "two"]
    assert seen == [("one", "", False), ("one", "s-one", True), ("two", "", False), ("two", "", True)]


def test_who_worked_works_again_in_later_rounds() -> None:
    keys = flow({"id": "fix", "agent": ["one", "two"], "prompt": "x"}, step("judge", "fix", again=again("fix", 3)))
    ends = {"fix": [End("failed", "unhealthy"), OK._replace(agent="two"), OK._replace(agent="two")]}
    life = Scripted(keys, ends, until={"judge": [False, True]}).go()
    assert [agent for agent in life.agents if agent] == ["one", "two", "two"]


def test_a_member_of_a_pool_keeps_its_retries_unless_it_cannot_take_them() -> None:
    keys = flow({"id": "a", "agent": "role:x", "prompt": "x", "retries": {"max": 3, "backoff": 0}})
    ends = [BAD._replace(agent="m1"), End("failed", "unhealthy", agent="m1"), BAD._replace(agent="m2"), OK]
    assert Scripted(keys, {"a": ends}).go().agents == ["role:x", "m1", "role:x", "m2"]


@pytest.mark.parametrize("retries", [0, RESTORE])
def test_a_workspace_that_cannot_be_archived_fails_the_step_once(retries: Any) -> None:
    life = Scripted(flow(step("a", snapshot=True, retries=retries)))
    life.errors["a"] = "no space left"
    life.go()
    one = life.run.instances["a"]
    assert (life.log, one.status, one.outcome, one.why) == ([], "failed", "restore", "no space left")
    assert life.run.status == "failed"


def test_items_are_archived_no_more_at_once_than_may_work() -> None:
    life = Scripted(flow(step("e", for_each="x", max_parallel=2, retries=RESTORE)), items={"e": [1, 2, 3, 4]})
    most = 0

    def look(life: Scripted) -> bool:
        nonlocal most
        most = max(most, len(life.run.wishes) + len(life.run.prepared) + len(life.run.working))
        return False

    assert life.go(look).run.status == "completed"
    assert most == 2


def test_what_a_node_has_not_answered_is_known_until_it_does() -> None:
    life = Scripted(flow(step("a", snapshot=True)))
    life.go(lambda life: bool(life.run.wishes))
    assert unanswered(life.run) == [WorkspaceArchiveWanted("r", "a", "n", "/w")]
    assert life.run.instances["a"].waiting_for == "restore"
    life.tell(unanswered(life.run)[0])  # asked again
    life.tell(WorkspaceArchived("r", "a", "s1"))
    life.tell(WorkspaceArchived("r", "a", "s2"))  # both are answered
    assert not unanswered(life.run)
    assert life.run.instances["a"].snapshot == "s1"
    assert decide(life.run, life.now) == [Work("start", "a")]


def test_what_waits_for_its_workspace_or_another_attempt_is_told_to_have_ended_when_the_run_ends() -> None:
    keys = flow(step("a", retries={**RESTORE, "backoff": 60}), step("b0"), step("b", "b0"), step("c"), on_failure="c")
    life = Scripted(keys, {"a": [BAD], "b": [BAD]}).go()
    assert life.log == ["b0", "a", "b", "c"]
    assert (life.run.status, life.run.instances["a"].status) == ("failed", "failed")
    assert life.run.told["a"].next == ""  # its workspace is let go, so that what handles the failure may work there


def test_a_stop_cuts_off_what_handles_a_failure_and_finally_still_runs() -> None:
    keys = flow(step("a", on_failure="x"), step("x"), step("z"), **{"finally": "z"})
    life = Scripted(keys, {"a": [BAD]})
    life.go(lambda life: "x" in life.run.working)
    life.tell(WorkflowRunEnding("r", "cancelled", "asked", stops=True))
    life.go(lambda life: "z" in life.run.working)
    assert life.statuses()["x"] == "cancelled"
    life.tell(WorkflowRunEnding("r", "cancelled", "asked", stops=True))
    life.go()
    assert (life.run.status, life.log, life.statuses()["z"]) == ("cancelled", ["a", "x", "z"], "cancelled")


def test_a_queued_run_that_is_stopped_ends_without_its_finally() -> None:
    workflow = msgspec.convert(flow(step("a"), step("z"), **{"finally": "z"}), Workflow)
    run = Run(WorkflowRunStarted("r", "w", 1, "", group="g"), 1, workflow)
    assert not decide(run, 1)
    run.apply(WorkflowRunEnding("r", "cancelled", "asked", stops=True), 2)
    assert decide(run, 2) == [WorkflowRunFinished("r", "cancelled", "", "asked")]


def test_a_restore_of_the_whole_ends_a_run_as_it_stands() -> None:
    keys = flow(step("a"), step("b", "a"), {"id": "gate", "approval": True}, step("z"), **{"finally": "z"})
    life = Scripted(keys)
    life.go(lambda life: bool(life.run.working and life.run.asking))
    life.tell(WorkflowRunFinished("r", "cancelled", "restored"))
    assert life.statuses() == {"a": "cancelled", "gate": "skipped"}
    assert all(one.done for one in life.run.current.values())
    assert not decide(life.run, life.now)
    life.tell(StepEnded("r", "a", "completed"))  # it comes too late
    assert life.statuses()["a"] == "cancelled"


def test_what_works_counts_for_the_budget_and_nothing_starts_above_it() -> None:
    life = Scripted(flow(step("a"), step("b"), budget={"tokens": 100}))
    life.go(lambda life: bool(life.run.instances))
    life.tell(StepStarted("r", "a", 1))
    assert [move.subject for move in decide(life.run, life.now, usage=(99, 0.0)) if isinstance(move, Work)] == ["b"]
    assert decide(life.run, life.now, usage=(100, 0.0)) == [WorkflowRunPaused("r", "budget")]


def test_a_budget_that_stops_ends_what_works() -> None:
    life = Scripted(flow(step("a"), budget={"cost": 2, "on_exceeded": "stop"}))
    life.go(lambda life: bool(life.run.working))
    (fact,) = decide(life.run, life.now, usage=(0, 2.0))
    assert fact == WorkflowRunEnding("r", "failed", "2 of a budget of 2 are spent", stops=True)


@pytest.mark.parametrize("held", ["pause", "budget"])
def test_under_a_run_that_is_paused_nothing_starts_and_no_time_runs_out(held: str) -> None:
    life = Scripted(flow(step("a"), step("b", "a"), timeout=10))
    life.go(lambda life: bool(life.run.working))
    life.now += 60_000
    assert not decide(life.run, life.now, held=held)
    assert not due(life.run, life.now, held=held)
    assert not decide(life.run, life.now, held_ms=60_000)
    assert isinstance(decide(life.run, life.now)[0], WorkflowRunEnding)


def test_a_paused_run_does_not_end_by_a_failure_or_a_deadline_before_it_goes_on() -> None:
    gate = {"id": "gate", "approval": {"timeout": 5}}
    life = Scripted(flow(step("a"), gate), {"a": [BAD]})
    life.go(lambda life: bool(life.run.working and life.run.asking))
    life.tell(WorkflowRunPaused("r"))
    life.now += 60_000
    life.go()
    assert (life.run.status, life.statuses()) == ("paused", {"a": "failed", "gate": "waiting"})
    life.tell(WorkflowRunResumed("r"))
    assert life.run.asking == {"gate": 1_000 + 5_000 + 60_000}
    assert life.go().run.status == "failed"


def test_a_queued_run_that_is_paused_stays_so_when_it_is_let_in() -> None:
    run = Run(WorkflowRunStarted("r", "w", 1, "", group="g"), 1, msgspec.convert(flow(step("a")), Workflow))
    run.apply(WorkflowRunPaused("r"), 2)
    assert run.status == "queued"
    run.apply(WorkflowRunAdmitted("r"), 3)
    assert run.status == "paused"
    run.apply(WorkflowRunResumed("r"), 4)
    assert run.status == "running"


@pytest.mark.parametrize(("own", "of_step", "limit"), [(10, 0, 10), (10, 5, 5), (None, 5, 5), (5, 10, 5)])
def test_the_smaller_timeout_ends_a_child(own: Any, of_step: float, limit: int) -> None:
    workflow = msgspec.convert(flow(step("a"), timeout=own), Workflow)
    run = Run(WorkflowRunStarted("r", "w", 1, "", timeout_s=of_step), 1_000, workflow)
    assert due(run, 1_000) == 1_000 + limit * 1000


def test_the_end_of_a_child_is_that_of_its_step() -> None:
    life = Scripted(flow({"id": "ship", "workflow": "deploy"}))
    life.go(lambda life: bool(life.run.working))
    one = life.run.instances["ship"]
    end = ended_child(life.run, one, WorkflowRunFinished("c", "completed", "ok", result="url"), (7, 0.5))
    assert (end.status, end.outcome, end.result, end.tokens, end.cost) == ("completed", "ok", "url", 7, 0.5)
    end = ended_child(life.run, one, WorkflowRunFinished("c", "failed", "", "step x failed"), (7, 0.5))
    assert (end.status, end.outcome, end.why) == ("failed", "exit", "run c of deploy: step x failed")


def test_a_failed_item_ends_those_that_work_where_it_is_to() -> None:
    life = Scripted(flow(step("e", for_each="x", fail_fast=True)), items={"e": [1, 2, 3]})
    life.ends["e[0]"] = [BAD]
    life.go()
    assert list(life.statuses().values()) == ["failed", "cancelled", "cancelled"]
    assert life.run.status == "failed"


def test_an_item_that_waits_for_its_retry_gives_its_place_to_others() -> None:
    keys = flow(step("e", for_each="x", max_parallel=1, retries={"max": 1, "backoff": 60}))
    life = Scripted(keys, {"e[0]": [BAD, OK]}, items={"e": [1, 2]}).go()
    assert life.log == ["e[0]", "e[1]", "e[0]"]
    assert life.run.status == "completed"


def test_a_loop_of_what_handles_a_failure_goes_round() -> None:
    keys = flow(step("a", on_failure="x"), step("x", again=again("x", 3)))
    assert Scripted(keys, {"a": [BAD]}, until={"x": [False]}).go().log == ["a", "x", "x#2", "x#3"]


def test_a_group_whose_rest_the_end_of_the_run_skipped_has_not_completed() -> None:
    keys = flow(step("b"), step("e", for_each="x", max_parallel=1), step("x"), on_failure="x")
    life = Scripted(keys, {"b": [BAD]}, items={"e": [1, 2, 3]}).go()
    assert life.run.current["e"].status == "cancelled"
    assert life.run.failures == ["b"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("completed", "ok"), ("failed", "exit"), ("cancelled", "cancelled"), ("timed_out", "timeout")],
)
def test_the_end_of_a_child_says_how_it_ended(status: str, outcome: str) -> None:
    life = Scripted(flow({"id": "ship", "workflow": "deploy"}))
    life.go(lambda life: bool(life.run.working))
    one = life.run.instances["ship"]
    assert ended_child(life.run, one, WorkflowRunFinished("c", status), (0, 0.0), 3)[1:6:4] == (outcome, 3)
