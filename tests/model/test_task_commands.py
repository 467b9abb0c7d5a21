"""Dispatch, cancel, retry: what each decides from what is known."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.dispatch import (
    OF_STEPS,
    SAME,
    DispatchState,
    Members,
    decide_batch,
    decide_cancel,
    decide_dispatch,
    decide_retry,
    decide_retry_dependants,
    differences,
    skipped_for,
)
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import NewEvent
from maestro.model.scheduling.sites import virtual_agents
from maestro.model.task import Task
from tests.model.facts import World, agent, node, task
from tests.model.history import facts_of


def agents(*facts: e.AnyFact) -> list[Agent]:
    """The agents after the facts."""
    return list(World(*facts).log.fold().agents.values())


HEALTHY = agents(agent("a"), agent("b", role="review", definition={"capabilities": ["fast"]}))


def refused(kind: type[MaestroError], wanted: e.TaskDispatched, known: DispatchState) -> str:
    """The line that the user gets."""
    with pytest.raises(kind) as caught:
        decide_dispatch(wanted, known)
    assert "\n" not in caught.value.line()
    return caught.value.line()


def test_a_dispatch_is_a_new_task_at_the_floor() -> None:
    wanted = task("t", "a", "b")
    assert decide_dispatch(wanted, DispatchState(HEALTHY)) == [NewEvent("task:t", wanted, 0)]
    assert decide_dispatch(wanted, DispatchState(HEALTHY, floor=9)) == [NewEvent("task:t", wanted, 9)]


@pytest.mark.parametrize("target", ["a", "type:code", "role:review", "capability:fast"])
def test_a_target_is_an_agent_or_a_pool_that_somebody_is_in(target: str) -> None:
    assert decide_dispatch(task("t", target), DispatchState(HEALTHY))


@pytest.mark.parametrize("target", ["c", "type:none", "role:code", "capability:slow"])
def test_a_target_that_nobody_is_does_not_exist(target: str) -> None:
    assert target in refused(NotFound, task("t", target, forced=True), DispatchState(HEALTHY))


@pytest.mark.parametrize("target", ["", "pool:x", "role:", "-a", "a b", "a\nb", "../a", "a" * 65, "role:a\nb", "ä"])
def test_a_target_that_cannot_be_one_is_invalid(target: str) -> None:
    refused(Invalid, task("t", "a", target), DispatchState(HEALTHY))


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": 0},
        {"priority": 6},
        {"timeout_s": 31_536_001.0},
        {"timeout_s": 0.0},
        {"timeout_s": -1.0},
        {"timeout_s": math.nan},
        {"timeout_s": math.inf},
        {"retries": -1},
        {"retries": 1001},
        {"on_lost": "panic"},
        {"key": ""},
        {"key": "a\nb"},
    ],
)
def test_a_number_out_of_its_range_is_invalid(fields: dict[str, Any]) -> None:
    refused(Invalid, task("t", **fields), DispatchState(HEALTHY))


def test_no_target_and_a_target_named_twice_are_invalid() -> None:
    nobody = e.TaskDispatched("t", "do it", "do it", ())
    refused(Invalid, nobody, DispatchState(HEALTHY))
    assert "'a' is named twice" in refused(Invalid, task("t", "a", "b", "a"), DispatchState(HEALTHY))


def test_an_unhealthy_target_is_refused_with_the_check_that_failed_unless_forced() -> None:
    known = DispatchState(agents(agent("a"), e.AgentHealthChanged("a", False, ("disk", "heartbeat"))))
    line = refused(Refused, task("t"), known)
    found = "agent a is unhealthy: disk, heartbeat failed"
    assert line == f"{found}; maestro agent health a says what to do about it; --force overrides"
    assert decide_dispatch(task("t", forced=True), known)


def test_a_stopped_target_is_refused() -> None:
    known = DispatchState(agents(agent("a"), e.AgentStopped("a")))
    assert "agent restart a" in refused(Refused, task("t"), known)


def test_a_pool_needs_one_healthy_agent() -> None:
    sick = e.AgentHealthChanged("a", False, ("disk",))
    assert decide_dispatch(task("t", "type:code"), DispatchState(agents(agent("a"), agent("b"), sick)))
    refused(Refused, task("t", "type:code"), DispatchState(agents(agent("a"), sick)))


def test_an_unknown_dependency_is_refused_and_one_named_twice_counts_once() -> None:
    assert "'s'" in refused(NotFound, task("t", after=["s"]), DispatchState(HEALTHY))
    assert "itself" in refused(Refused, task("t", after=["t"]), DispatchState(HEALTHY, {"t"}))
    (event,) = decide_dispatch(task("t", after=["s", "r", "s"]), DispatchState(HEALTHY, {"s", "r"}))
    assert event.fact == task("t", after=["s", "r"])


def test_the_same_key_makes_the_task_once() -> None:
    world = World(node(), agent("a"), task("t", key="nightly"))
    again = task("t", key="nightly")
    assert decide_dispatch(again, DispatchState(HEALTHY, existing=world.task("t"))) == []


def test_a_dispatch_ends_the_hold_of_the_nodes_that_it_needs() -> None:
    world = World(node("n"), node("m"), node("o"), agent("a", "n"), agent("free", None), agent("c", "o"))
    views = world.happens(*(e.NodeHeld(name, "shutdown") for name in "nmo")).log.fold()
    known = DispatchState(list(views.agents.values()), nodes=views.nodes, here="m")
    resumed = facts_of(decide_dispatch(task("t", "a", "free"), known))[1:]
    assert [fact.node for fact in resumed if isinstance(fact, e.NodeResumed)] == ["n", "m"]


def test_a_cancel_is_asked_for_once_at_the_tasks_version() -> None:
    world = World(node(), agent("a"), task("t"))
    assert decide_cancel("t", world.task("t"), "no") == [NewEvent("task:t", e.TaskCancelRequested("t", "no"), 3)]
    world.happens(e.TaskCancelRequested("t", "no"))
    assert decide_cancel("t", world.task("t"), "still no") == []


def test_a_finished_task_cannot_be_cancelled_and_an_open_one_not_retried() -> None:
    world = World(node(), agent("a"), task("t"))
    with pytest.raises(Refused):
        decide_retry("t", world.task("t"))
    world.decides()
    world.runs("t-0.1", "exit").decides()
    with pytest.raises(Refused, match="failed"):
        decide_cancel("t", world.task("t"))
    assert decide_retry("t", world.task("t")) == [NewEvent("task:t", e.TaskRetried("t"), world.log.head)]


def test_commands_on_no_task_find_none() -> None:
    with pytest.raises(NotFound):
        decide_cancel("t", None)
    with pytest.raises(NotFound):
        decide_retry("t\n", None)


SESSION = e.RunSessionOpened("t-0.1", "t", "a", "ses_1")
RESUMABLE = {"resume": {"args": ["--session", "{session}"]}}


def had_a_session(definition: dict[str, Any], *told: e.AnyFact) -> World:
    """A finished task of agent `a`."""
    world = World(node(), agent("a", definition=definition), agent("b"), task("t"))
    world.decides()
    world.starts("t-0.1").happens(*told).ends("t-0.1", "exit").decides()
    return world


def test_a_retry_goes_on_with_the_session_of_the_last_run() -> None:
    world = had_a_session(RESUMABLE, SESSION)
    events = decide_retry("t", world.task("t"), resume=world.log.fold().agents)
    assert facts_of(events) == [e.TaskRetried("t", resume=True)]
    world.happens(*facts_of(events))
    before = world.slot("t").resumable
    assert before is not None
    assert (world.task("t").resumes, before.session) == (True, "ses_1")
    assert world.releases() == [("t-0.2", "a")]


@pytest.mark.parametrize(
    ("definition", "told", "said"),
    [
        (RESUMABLE, [], "no run of a has told a session to go on with"),
        ({}, [SESSION], "agent a cannot go on with a session (type code has no `resume`)"),
        ({"resume": None}, [SESSION], "agent a cannot go on with a session"),
    ],
)
def test_a_retry_that_cannot_go_on_is_refused_and_says_what_can_be_done(
    definition: dict[str, Any], told: list[e.AnyFact], said: str
) -> None:
    world = had_a_session(definition, *told)
    with pytest.raises(Refused) as caught:
        decide_retry("t", world.task("t"), resume=world.log.fold().agents)
    assert said in caught.value.line()
    assert "task retry t starts anew" in caught.value.line()


def test_a_pools_task_goes_on_with_the_agent_that_has_its_session() -> None:
    world = World(node(), *(agent(name, definition=RESUMABLE) for name in "ab"), task("t", "type:code"))
    ((run, first),) = world.releases()
    world.starts(run).happens(e.RunSessionOpened(run, "t", first, "ses_1")).ends(run, "exit").decides()
    world.happens(e.TaskRetried("t", resume=True))
    assert world.releases() == [("t-0.2", first)]
    world.runs("t-0.2", "exit").decides()
    world.happens(e.TaskRetried("t"))
    assert world.task("t").resumes is False
    ((_, other),) = world.releases()
    assert other != first, "anew, it is anybody's again"


@pytest.mark.parametrize("budget", [{"budget_tokens": 0}, {"budget_cost": -1.0}, {"budget_cost": math.nan}])
def test_a_budget_is_more_than_nothing(budget: dict[str, Any]) -> None:
    assert "budget of" in refused(Invalid, task("t", **budget), DispatchState(HEALTHY))


OTHER: dict[str, Any] = {
    "prompt": "other",
    "targets": ("b",),
    "depends_on": ("d",),
    "timeout_s": 1.0,
    "priority": 1,
    "retries": 1,
    "verify": "true",
    "budget_tokens": 1,
    "budget_cost": 1.0,
    "trace": True,
    "forced": True,
    "on_lost": "fail",
}


@pytest.mark.parametrize("field", OTHER)
def test_a_dispatch_of_a_key_differs_in_all_that_a_task_is_given(field: str) -> None:
    first = task("t", "a", key="k")
    assert differences(first, first) == []
    assert differences(msgspec.structs.replace(first, **{field: OTHER[field]}), first) == [SAME[field]]


def test_no_field_of_a_dispatch_is_forgotten_where_two_are_compared() -> None:
    assert {*SAME, *OF_STEPS, "task", "title", "key"} == set(e.TaskDispatched.__struct_fields__)


def test_the_order_of_targets_counts_and_that_of_dependencies_does_not() -> None:
    first = task("t", "a", "b", after=("x", "y"))
    assert differences(task("t", "a", "b", after=("y", "x")), first) == []
    assert differences(task("t", "b", "a", after=("x", "y")), first) == ["targets"]


def skipped(name: str, *depends_on: str) -> Task:
    """A task that was skipped."""
    return Task(name, 7, 1, name, "skipped", [], 0, "me", list(depends_on))


def test_what_was_skipped_for_a_task_is_found_through_what_is_open_again_and_in_order() -> None:
    rows = [skipped("b", "a"), skipped("x", "y"), skipped("c", "b", "x"), skipped("d", "a"), skipped("e", "c")]
    assert [row.id for row in skipped_for(["a"], rows)] == ["b", "c", "d", "e"]
    rows[0].status = "queued"  # it was retried already
    assert [row.id for row in skipped_for(["a"], rows)] == ["c", "d", "e"]


def test_what_would_be_skipped_once_more_is_left_with_its_reason() -> None:
    rows = [skipped("b", "a"), skipped("c", "a", "x"), skipped("d", "b", "c"), skipped("e", "b")]
    events, left = decide_retry_dependants("a", rows, {"x": "failed"}, 9)
    assert [(event.subject, event.expected) for event in events] == [("task:b", 9), ("task:e", 9)]
    assert left == {"c": "it depends on task x too: failed", "d": "it depends on task c too: skipped"}


def test_a_batch_is_queued_in_order_and_refused_as_one() -> None:
    wanted = [task("t", "a"), task("u", "role:review", after=("t", "t"))]
    events = decide_batch(wanted, Members(HEALTHY), DispatchState(HEALTHY, floor=3))
    assert [event.subject for event in events] == ["task:t", "task:u"]
    assert facts_of(events)[1].depends_on == ("t",)  # type: ignore[union-attr]
    assert decide_batch([], Members(HEALTHY), DispatchState(HEALTHY)) == []
    with pytest.raises(NotFound):
        decide_batch([*wanted, task("v", "nobody")], Members(HEALTHY), DispatchState(HEALTHY))


def test_only_a_step_may_have_a_virtual_agent() -> None:
    virtual = list(virtual_agents().values())
    wanted = task("t", ".run", workflow="w", step="x")
    assert decide_dispatch(wanted, DispatchState(virtual)) == [NewEvent("task:t", wanted, 0)]
    assert "beginning with a letter or digit" in refused(Invalid, task("t", ".run"), DispatchState(virtual))


def test_a_retry_may_have_another_budget_and_keeps_what_it_does_not_name() -> None:
    dispatched = e.TaskDispatched("t", "p", "p", ("a",), budget_tokens=5, budget_cost=1.0)
    world = World(agent("a"), dispatched, e.TaskFinished("t", "failed", "budget"))
    (event,) = decide_retry("t", world.task("t"), budget=(9, None))
    assert event.fact == e.TaskRetried("t", budget_tokens=9)
    row = world.happens(event.fact).task("t")
    assert (row.status, row.budget_tokens, row.budget_cost) == ("queued", 9, 1.0)
    with pytest.raises(Invalid):
        decide_retry("t", world.happens(e.TaskFinished("t", "failed", "budget")).task("t"), budget=(None, 0.0))
