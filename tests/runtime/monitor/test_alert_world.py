"""The oldest ready task as alerts see it: of few lanes a look, and not what a person has stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.scheduling.plan import Plan
from maestro.runtime.monitor.alert_world import LANES_A_LOOK, SWEPT_MS_MAX, AlertWorld
from maestro.runtime.node.follower import Follower
from tests.model.facts import agent, node, task
from tests.model.history import subject_of

HOUR_MS = 3_600_000


def planned(*facts: AnyFact) -> tuple[Plan, AlertWorld]:
    plan = Plan()
    for fact in facts:
        follow(plan, fact)
    none: Any = None
    return plan, AlertWorld(none, cast(Follower, SimpleNamespace(plan=plan)), none)


def follow(plan: Plan, fact: AnyFact) -> None:
    plan.apply(Event(plan.seq + 1, subject_of(fact), plan.seq + 1, "", "", 0, fact))


def test_the_oldest_of_many_lanes_is_found_in_some_looks_of_bounded_cost() -> None:
    lanes = 3 * LANES_A_LOOK + 7
    plan, world = planned(node(), *(task(f"t{at}", f"role:r{lanes - at}") for at in range(lanes)))
    looked: list[str] = []
    true = plan.is_true
    plan.lanes._is_true = lambda entry: looked.append(entry.task) or true(entry)  # type: ignore[func-returns-value]
    found = [world._ready(HOUR_MS) for _ in range(4)]
    assert found[-1] is not None and found[-1].task == "t0"
    assert len(looked) <= lanes + 4
    assert [one.since for one in found if one] == sorted((one.since for one in found if one), reverse=True)


def test_what_a_person_has_stopped_is_not_waiting() -> None:
    plan, world = planned(node(), agent("a"), task("t"))
    ready = world._ready(HOUR_MS)
    assert ready is not None and (ready.task, ready.since) == ("t", 3)
    follow(plan, e.AgentStopped("a"))
    assert world._ready(HOUR_MS) is None
    follow(plan, e.AgentRestarted("a"))
    assert world._ready(HOUR_MS) is not None
    follow(plan, e.NodeHeld("n", "shutdown"))
    assert world._ready(HOUR_MS) is None


def test_a_task_is_as_old_as_its_last_dependency_is_over() -> None:
    plan, world = planned(node(), agent("a"), agent("b"), task("first", "b"), task("then", after=["first"]))
    plan.apply(Event(90, "task:first", 5000, "", "", 0, e.TaskFinished("first", "completed", "ok")))
    ready = world._ready(HOUR_MS)
    assert ready is not None and (ready.task, ready.since) == ("then", 5000)


def test_while_nothing_is_appended_lanes_are_not_looked_at_again_until_a_retry_may_have_come_due() -> None:
    plan, world = planned(node(), *(task(f"t{at}", f"role:r{at}") for at in range(LANES_A_LOOK + 1)))
    looked: list[int] = []
    fronts = plan.lanes.fronts
    plan.lanes.fronts = lambda begin, count: looked.append(begin) or fronts(begin, count)  # type: ignore[method-assign, func-returns-value]
    found = [world._ready(HOUR_MS + at * 5000) for at in range(6)]
    assert {one.task for one in found if one} == {"t0"} and looked == [0, LANES_A_LOOK]
    assert world._ready(HOUR_MS + SWEPT_MS_MAX) is not None and looked[2:] == [0]
    follow(plan, task("new", "role:new"))
    assert world._ready(HOUR_MS + SWEPT_MS_MAX) is not None and len(looked) == 4
