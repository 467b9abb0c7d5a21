"""Starting again from what failed: one item of twenty, a round, a branch; nothing that was done runs twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.model.errors import NotFound, Refused
from maestro.model.facts.workflow import WorkflowRunStarted
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.resumption import Resumption, resumption
from maestro.model.workflow.run import Run
from tests.model.workflow.scripted import BAD, Scripted
from tests.model.workflow.test_run import again, flow, step


def resumed(
    old: Scripted, start: str = "failed", keys: dict[str, Any] | None = None, restores: bool = False, **more: Any
) -> Scripted:
    """A run of the same definition, or another, that begins at `start` of an earlier one."""
    definition = msgspec.convert(keys, Workflow) if keys else old.run.workflow
    found: Resumption = resumption(old.run, start, definition, restores)
    life = Scripted(msgspec.to_builtins(definition), **more)
    life.items = dict(old.items)
    life.archives = old.archives
    taken = {name: getattr(found, name) for name in ("reused", "rounds", "turns", "turned", "items", "archives")}
    life.run = Run(
        WorkflowRunStarted("r2", "w", 1, "", resumed_from="r", restores=restores, **taken), life.now, definition
    )
    return life


def test_one_item_of_twenty() -> None:
    keys = flow(step("list"), step("each", "list", for_each="x"), step("sum", "each"), step("beside"))
    old = Scripted(keys, {"each[7]": [BAD]}, items={"each": list(range(20))}).go()
    assert old.run.status == "failed"
    life = resumed(old).go()
    assert life.log == ["each[7]", "sum"]
    assert life.run.status == "completed"
    assert len([id for id in life.run.instances if id.startswith("each")]) == 20


def test_what_failed_and_what_needs_it_run_again_and_nothing_else() -> None:
    keys = flow(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), step("e", "c"))
    life = resumed(Scripted(keys, {"b": [BAD]}).go()).go()
    assert life.log[0] == "b"
    assert set(life.log) == {"b", "d", "e"} or set(life.log) == {"b", "d"}
    assert life.run.status == "completed"


def test_a_named_step_and_all_behind_it() -> None:
    keys = flow(step("a"), step("b", "a"), step("c", "b"), step("d", "a"))
    assert resumed(Scripted(keys).go(), "b").go().log == ["b", "c"]


def test_a_loop_goes_on_in_the_round_in_which_it_failed() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 5)), step("ship", "judge"))
    old = Scripted(keys, {"judge#3": [BAD]}, until={"judge": [False, False, True]}).go()
    assert old.log[-1] == "judge#3"
    life = resumed(old, until={"judge": [False, True]}).go()
    assert life.log == ["judge#3", "fix#4", "judge#4", "ship"]
    assert life.run.status == "completed"


def test_a_loop_that_is_over_is_not_gone_through_again() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 5)), step("ship", "judge"))
    old = Scripted(keys, {"ship": [BAD]}, until={"judge": [False, True]}).go()
    life = resumed(old).go()
    assert (life.log, life.run.status) == (["ship"], "completed")


def test_a_loop_whose_beginning_runs_again_begins_anew() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 5)), step("ship", "judge"))
    old = Scripted(keys, until={"judge": [False, True]}).go()
    life = resumed(old, "fix", until={"judge": [True]}).go()
    assert (life.log, life.run.status) == (["fix", "judge", "ship"], "completed")


def test_what_cannot_be_reused_is_named() -> None:
    old = Scripted(flow(step("a"), step("b", "a")), {"b": [BAD]}).go()
    with pytest.raises(Refused, match="step a has changed"):
        resumed(old, keys=flow(step("a", env={"x": "y"}), step("b", "a")))
    with pytest.raises(NotFound, match="there is no step 'z'"):
        resumed(old, "z")
    with pytest.raises(Refused, match="nothing failed"):
        resumed(Scripted(flow(step("a"))).go())
    with pytest.raises(Refused, match="has not ended"):
        resumed(Scripted(flow(step("a"))))


def test_a_loop_goes_on_where_its_first_step_failed_and_keeps_what_its_rounds_told() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 5)), step("ship", "judge"))
    old = Scripted(keys, {"fix#3": [BAD]}, until={"judge": [False, False, True]}).go()
    life = resumed(old, until={"judge": [True]})
    assert set(life.run.told) == {"fix", "judge", "fix#2", "judge#2"}
    assert life.go().log == ["fix#3", "judge#3", "ship"]


def test_a_loop_behind_what_failed_begins_anew() -> None:
    keys = flow(step("a"), step("b"), step("fix", "a", "b"), step("judge", "fix", again=again("fix", 5)))
    old = Scripted(keys, until={"judge": [False, True]}).go()
    life = resumed(old, "b", until={"judge": [True]}).go()
    assert life.log == ["b", "fix", "judge"]


def test_items_behind_what_runs_again_all_run_again() -> None:
    keys = flow(step("a"), step("each", "a", for_each="x"))
    old = Scripted(keys, items={"each": [1, 2]}).go()
    assert resumed(old, "a").go().log == ["a", "each[0]", "each[1]"]


def test_what_the_end_of_the_run_skipped_runs_again_also_an_approval_and_items() -> None:
    keys = flow(
        step("a", retries={"max": 0}),
        {"id": "gate", "approval": True},
        step("ship", "gate"),
        step("each", for_each="x", max_parallel=1),
    )
    old = Scripted(keys, {"a": [BAD]}, items={"each": [1, 2, 3]})
    old.go(lambda life: "each[0]" in life.run.working and "a" in life.run.working and bool(life.run.asking))
    old.go()
    assert old.statuses() == {
        "a": "failed", "gate": "skipped", "each[0]": "completed", "each[1]": "skipped", "each[2]": "skipped"
    }  # fmt: skip
    life = resumed(old).go()
    assert set(life.log) == {"a", "each[0]", "each[1]", "each[2]"} - {"each[0]"}
    assert life.run.asking
    life.approve("gate")
    assert life.go().run.status == "completed"


def test_a_failure_that_counts_as_done_is_not_begun_again_unless_nothing_else_failed() -> None:
    keys = flow(step("a", on_failure="continue"), step("b", "a"), step("c", "b"))
    old = Scripted(keys, {"a": [BAD], "c": [BAD]}).go()
    assert resumed(old).go().log == ["c"]
    old = Scripted(keys, {"a": [BAD]}).go()
    assert old.run.status == "completed"
    assert resumed(old).go().log == ["a", "b", "c"]


def test_a_workspace_goes_back_to_before_the_first_that_runs_again_there() -> None:
    keys = flow(step("a", snapshot=True), step("b", "a", snapshot=True), step("c", "b", snapshot=True))
    old = Scripted(keys, {"b": [BAD]}).go()
    assert old.told == ["archive a", "archive b"]
    life = resumed(old, restores=True).go()
    assert life.told == ["archive b", "restore b to s2", "archive c"]
    assert life.run.status == "completed"
    life = resumed(old, "a", restores=True).go()
    assert life.told == ["archive a", "restore a to s1", "archive b", "archive c"]


def test_the_archives_of_a_run_that_was_resumed_and_failed_earlier_hold() -> None:
    keys = flow(step("a", snapshot=True), step("b", "a"))
    first = Scripted(keys, {"b": [BAD]}).go()
    with pytest.raises(Refused, match="step b of run r has no archive from before it"):
        resumed(first, restores=True)
    second = resumed(first, "a", {"steps": [*keys["steps"]]}, restores=True, ends={"a": [BAD]}).go()
    assert second.told == ["archive a", "restore a to s1"]
    third = resumed(second, restores=True).go()
    assert third.told == ["archive a", "restore a to s1"]


def test_the_archives_of_what_was_reused_hold_for_the_run_after_that() -> None:
    keys = flow(step("a", snapshot=True), step("b", "a", snapshot=True))
    first = Scripted(keys, {"b": [BAD]}).go()
    second = resumed(first, ends={"b": [BAD]}).go()
    assert second.told == ["archive b"]
    third = resumed(second, "a", restores=True).go()
    assert third.told == ["archive a", "restore a to s1", "archive b"]


def test_a_changed_limit_is_no_other_step() -> None:
    old = Scripted(flow(step("a"), step("b", "a")), {"b": [BAD]}).go()
    assert resumed(old, keys=flow(step("a", timeout=5, retries=2), step("b", "a"))).go().log == ["b"]
