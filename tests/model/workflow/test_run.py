"""A run, case by case: order, failures, loops, items, approvals, retries, budgets, ends, and the cost of long ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from maestro.model.facts.workflow import WorkflowRunEnding, WorkflowRunPaused, WorkflowRunResumed
from maestro.model.workflow.checks import findings
from maestro.model.workflow.decide import decide
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End
from tests.model.workflow.scripted import BAD, OK, Scripted


def step(id: str, *needs: str, **keys: Any) -> dict[str, Any]:
    return {"id": id, "run": "true", "needs": list(needs), **keys}


def flow(*steps: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"steps": list(steps), **keys}


def again(start: str, most: int) -> dict[str, Any]:
    return {"from": start, "until": "x", "max": most}


def test_roots_start_at_once_and_a_fan_in_waits_for_all() -> None:
    life = Scripted(flow(step("a"), step("b"), step("c", "a", "b"), step("d", "c"))).go()
    assert life.log == ["a", "b", "c", "d"]
    assert life.run.status == "completed"


def test_on_success_is_a_need_of_the_other_step() -> None:
    life = Scripted(flow(step("b"), {"id": "a", "run": "true", "on_success": "b"})).go()
    assert life.log == ["a", "b"]


def test_a_failure_stops_what_is_new_and_lets_siblings_finish() -> None:
    life = Scripted(flow(step("a"), step("b"), step("c", "a"), step("d", "b")), {"a": [BAD]}).go()
    assert (life.run.status, life.run.why) == ("failed", "step a failed")
    assert life.statuses() == {"a": "failed", "b": "completed"}
    assert life.run.current["d"].status == "skipped"


def test_a_failure_that_counts_as_done_lets_the_run_go_on() -> None:
    life = Scripted(flow(step("a", on_failure="continue"), step("b", "a")), {"a": [BAD]}).go()
    assert life.log == ["a", "b"]
    assert life.run.status == "completed"


def test_handlers_run_once_in_order_and_the_run_has_failed_all_the_same() -> None:
    keys = flow(
        step("a", on_failure="x"),
        step("x"),
        step("xx", "x"),
        step("top"),
        step("last"),
        on_failure="top",
        **{"finally": "last"},
    )
    life = Scripted(keys, {"a": [BAD]}).go()
    assert life.log == ["a", "x", "xx", "top", "last"]
    assert life.run.status == "failed"


def test_without_a_failure_no_handler_runs_but_finally() -> None:
    keys = flow(
        step("a", on_failure="x"), step("x"), step("top"), step("last"), on_failure="top", **{"finally": "last"}
    )
    life = Scripted(keys).go()
    assert life.log == ["a", "last"]
    assert life.run.status == "completed"


def test_a_failed_finally_fails_the_run() -> None:
    assert Scripted(flow(step("a"), step("z"), **{"finally": "z"}), {"z": [BAD]}).go().run.status == "failed"


def test_a_loop_goes_round_until_it_is_told_and_what_is_outside_waits_for_its_end() -> None:
    keys = flow(step("a"), step("fix", "a"), step("judge", "fix", again=again("fix", 5)), step("ship", "fix"))
    life = Scripted(keys, until={"judge": [False, False, True]}).go()
    assert life.log == ["a", "fix", "judge", "fix#2", "judge#2", "fix#3", "judge#3", "ship"]
    assert life.run.status == "completed"


def test_a_loop_that_finds_no_end_fails_at_its_maximum() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 3)), step("ship", "judge"))
    life = Scripted(keys, until={"judge": [False]}).go()
    assert life.log == ["fix", "judge", "fix#2", "judge#2", "fix#3", "judge#3"]
    assert (life.run.status, life.run.current["judge"].outcome) == ("failed", "no_convergence")


def test_a_round_may_fail_where_the_loop_goes_on_but_what_never_comes_true_is_not_done() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 2), on_failure="continue"), step("ship", "judge"))
    life = Scripted(keys, {"judge": [BAD]}, until={"judge": [False]}).go()
    assert (life.log, life.run.status) == (["fix", "judge", "fix#2", "judge#2"], "failed")
    life = Scripted(keys, {"judge": [BAD]}, until={"judge": [False, True]}).go()
    assert (life.log[-1], life.run.status) == ("ship", "completed")


def test_a_loop_inside_a_loop_begins_anew_in_each_round() -> None:
    keys = flow(step("a"), step("b", "a", again=again("b", 2)), step("c", "b", again=again("a", 2)), step("d", "c"))
    life = Scripted(keys, until={"b": [False, True, False, True], "c": [False, True]}).go()
    assert life.log == ["a", "b", "b#2", "c", "a#2", "b#3", "b#4", "c#2", "d"]
    assert life.run.status == "completed"


def test_items_are_independent_and_the_group_fails_behind_the_last() -> None:
    keys = flow(step("each", for_each="x", max_parallel=2), step("b", "each"))
    life = Scripted(keys, {"each[2]": [BAD]}, items={"each": list(range(5))}).go()
    assert life.log == [f"each[{number}]" for number in range(5)]
    assert life.run.status == "failed"


def test_no_more_items_work_at_once_than_are_allowed() -> None:
    life = Scripted(flow(step("each", for_each="x", max_parallel=2)), items={"each": list(range(5))})
    most = 0

    def look(life: Scripted) -> bool:
        nonlocal most
        most = max(most, len(life.run.working))
        return False

    life.go(look)
    assert (most, life.run.status) == (2, "completed")


def test_with_fail_fast_the_rest_is_skipped() -> None:
    keys = flow(step("each", for_each="x", max_parallel=1, fail_fast=True))
    life = Scripted(keys, {"each[1]": [BAD]}, items={"each": list(range(5))}).go()
    assert life.log == ["each[0]", "each[1]"]
    assert list(life.statuses().values()) == ["completed", "failed", "skipped", "skipped", "skipped"]


def test_no_items_are_a_good_end() -> None:
    assert Scripted(flow(step("each", for_each="x"), step("b", "each")), items={"each": []}).go().log == ["b"]


def test_retries_wait_longer_each_time_and_hold_nothing() -> None:
    keys = flow(step("a", retries={"max": 2, "backoff": 10, "max_delay": 15}), step("b"))
    life = Scripted(keys, {"a": [BAD]})
    life.go(lambda life: bool(life.run.retrying) and not life.run.working)
    assert (life.run.instances["a"].status, life.run.instances["a"].waiting_for) == ("waiting", "retry")
    assert life.run.instances["a"].due == 1_000 + 10_000
    life.go()
    assert life.log == ["a", "b", "a", "a"]
    assert life.now == 1_000 + 10_000 + 15_000
    assert life.run.status == "failed"


def test_a_chain_goes_on_with_the_next_agent_without_spending_a_retry() -> None:
    keys = flow({"id": "a", "agent": ["one", "two"], "prompt": "x", "retries": 1})
    refused = End("failed", "refused")
    life = Scripted(keys, {"a": [refused, BAD, OK]}).go()
    assert (life.log, life.run.status, life.run.instances["a"].link) == (["a", "a", "a"], "completed", 1)


@pytest.mark.parametrize("outcome", ["template", "spawn_error"])
def test_what_no_attempt_can_mend_ends_once(outcome: str) -> None:
    life = Scripted(flow(step("a", retries=5)), {"a": [End("failed", outcome)]}).go()
    assert (life.log, life.run.status) == (["a"], "failed")


def test_an_approval_waits_and_passes_once() -> None:
    life = Scripted(flow({"id": "gate", "approval": True}, {"id": "other", "approval": True}, step("b", "gate"))).go()
    assert [one.waiting_for for one in life.run.instances.values()] == ["approval", "approval"]
    life.approve("gate")
    life.approve("gate", approved=False)
    life.go()
    assert life.log == ["b"]
    assert not life.run.ended
    life.approve("other")
    assert life.go().run.status == "completed"


def test_a_rejection_fails_the_step() -> None:
    life = Scripted(flow({"id": "gate", "approval": True}, step("b", "gate"))).go()
    life.approve("gate", approved=False)
    life.go()
    assert (life.run.status, life.run.instances["gate"].outcome, life.log) == ("failed", "rejected", [])


@pytest.mark.parametrize(("answer", "status"), [("approve", "completed"), ("reject", "failed")])
def test_time_answers_an_approval(answer: str, status: str) -> None:
    gate = {"id": "gate", "approval": {"timeout": 5, "on_timeout": answer}}
    life = Scripted(flow(gate))
    life.go()
    assert (life.run.status, life.now) == (status, 6_000)


def test_a_pause_starts_nothing_and_kills_nothing() -> None:
    life = Scripted(flow(step("a"), step("b", "a")))
    life.go(lambda life: bool(life.run.working))
    life.tell(WorkflowRunPaused("r"))
    life.go()
    assert (life.run.status, life.statuses()) == ("paused", {"a": "completed"})
    life.tell(WorkflowRunResumed("r"))
    assert life.go().run.status == "completed"


def test_three_steps_that_use_half_a_budget_each() -> None:
    used = [End("completed", "ok", tokens=50)]
    keys = flow(step("each", for_each="x", max_parallel=1), budget={"tokens": 100})
    life = Scripted(keys, {"each": used}, items={"each": [1, 2, 3]}).go()
    assert (life.log, life.run.status, life.run.paused) == (["each[0]", "each[1]"], "paused", "budget")
    life.tell(WorkflowRunResumed("r", add_tokens=50))
    assert life.go().run.status == "completed"


def test_a_stop_cancels_what_works_and_finally_runs() -> None:
    life = Scripted(flow(step("a"), step("b", "a"), step("z"), **{"finally": "z"}))
    life.go(lambda life: bool(life.run.working))
    life.tell(WorkflowRunEnding("r", "cancelled", "asked", stops=True))
    life.go()
    assert (life.run.status, life.log) == ("cancelled", ["a", "z"])
    assert life.statuses()["a"] == "cancelled"


def test_the_clock_of_the_run_stands_still_while_only_people_are_waited_for() -> None:
    life = Scripted(flow({"id": "gate", "approval": True}, step("b", "gate"), timeout=10)).go()
    life.now += 3_600_000
    assert not decide(life.run, life.now)
    life.approve("gate")
    assert life.go().run.status == "completed"


def test_the_timeout_of_a_run_ends_what_works() -> None:
    life = Scripted(flow(step("a", retries={"max": 9, "backoff": 60}), timeout=100), {"a": [BAD]}).go()
    assert (life.run.status, life.now) == ("timed_out", 101_000)


def calls_of(work: Callable[[], Any]) -> int:
    """How many calls of Python's functions something takes."""
    count = 0

    def seen(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def calls(keys: dict[str, Any], **more: Any) -> int:
    """How many calls of Python's functions a whole run takes."""
    life = Scripted(keys, **more)
    count = calls_of(life.go)
    assert life.run.status == "completed"
    return count


@pytest.mark.parametrize("shape", ["wide", "deep", "items", "rounds", "retries", "archives", "fail_fast"])
def test_long_runs_take_time_in_proportion(shape: str) -> None:
    def run(size: int) -> int:
        if shape == "wide":
            return calls(flow(*(step(f"s{number}") for number in range(size))))
        if shape == "deep":
            return calls(flow(step("s0"), *(step(f"s{number}", f"s{number - 1}") for number in range(1, size))))
        items = {"s": list(range(size))}
        if shape == "retries":
            keys = flow(
                step("s", for_each="x", max_parallel=50, retries={"max": 1, "backoff": 5}, on_failure="continue")
            )
            return calls(keys, items=items, ends={"s": [BAD]})
        if shape == "archives":
            return calls(flow(step("s", for_each="x", max_parallel=5, snapshot=True)), items=items)
        if shape == "fail_fast":
            keys = flow(step("s", for_each="x", max_parallel=5, fail_fast=True, on_failure="continue"))
            return calls(keys, items=items, ends={"s": [BAD]})
        if shape == "items":
            return calls(flow(step("s", for_each="x", max_parallel=3)), items=items)
        loop = flow(step("a"), step("b", "a", again=again("a", size)))
        return calls(loop, until={"b": [False] * (size - 1) + [True]})

    size = 1000 if shape in ("wide", "deep") else 400
    assert run(2 * size) < 2.2 * run(size)


def test_loops_that_would_wait_for_each_others_end_are_no_definition() -> None:
    keys = flow(
        step("a", again=again("a", 1)),
        step("b"),
        step("c", "a", "b", again=again("a", 1)),
        step("d", "a", "b", again=again("b", 1)),
    )
    found = [one.what for one in findings(msgspec.convert(keys, Workflow)) if "loops" in one.what]
    assert found == ["loops wait for each other's end: d → c → d"]
