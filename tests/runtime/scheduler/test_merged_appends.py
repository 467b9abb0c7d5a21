"""Merged appends: what goes into one append, under whose name, and when there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from maestro.model.events import NewEvent, RunEnded, RunReleased, RunStarted, TaskDispatched
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import Decision
from maestro.runtime.scheduler.merged_appends import MergedAppends
from maestro.store.contract import Append, Hint
from tests.model.facts import World, agent, node, task

RELEASED = RunReleased("t-0.1", "t", 0, 1, "ann", "n", 1.0, 0)
STARTED = RunStarted("t-0.1", "t", "ann", "n", "/f", "/w")
DECISION = Decision((NewEvent("run:t-0.1", RELEASED, 0),), (("n", "t-0.1", 0),), "7")
DISPATCH = Append((NewEvent("task:t", TaskDispatched("t", "go", "go", ("ann",))),), "cli", "cmd:1")
RESERVED = cast(Any, SimpleNamespace(started=STARTED, actor="worker:n"))


def merged(plan: Plan | None = None, leading: bool = True) -> MergedAppends:
    made = MergedAppends(cast(Any, SimpleNamespace(plan=plan or Plan())), "n:1")
    made.leading = leading
    return made


def test_a_decision_alone_is_appended_with_its_hint_under_the_fence() -> None:
    append = merged().with_decision(Append((), "scheduler:n", "7"), DECISION, None)
    assert (append.events, append.hints, append.follows) == (DECISION.events, (Hint("n", "t-0.1", 0),), ())
    assert append.fence is not None and append.fence.actor == "scheduler:n"


def test_a_release_goes_behind_its_dispatch_in_the_name_of_the_scheduler() -> None:
    append = merged().with_decision(DISPATCH, DECISION, None)
    assert [event.fact for event in append.events] == [DISPATCH.events[0].fact, RELEASED]
    assert (append.actor, append.cause, append.follows) == ("cli", "cmd:1", ("scheduler:n",))
    assert append.hints == (Hint("n", "t-0.1", 1),)


def test_where_room_is_reserved_the_start_goes_with_the_release_and_no_hint_is_put() -> None:
    append = merged().with_decision(DISPATCH, DECISION, RESERVED)
    assert [event.fact for event in append.events] == [DISPATCH.events[0].fact, RELEASED, STARTED]
    assert (append.follows, append.hints) == (("scheduler:n", "worker:n"), ())


def test_the_end_of_a_task_goes_with_that_of_its_last_run_where_this_daemon_leads() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    plan = world.starts("t-0.1").plan
    own = Append((NewEvent("run:t-0.1", RunEnded("t-0.1", "t", "a", "ok", 0), plan.seq),), "worker:n", "2")
    append = merged(plan).with_task_end(own)
    assert append is not None and append.events[0] == own.events[0]
    assert [type(event.fact).__name__ for event in append.events[1:]] == ["TaskFinished", "StateSet"]
    assert append.follows == ("scheduler:n",) * 2 and append.fence is not None
    assert merged(plan, leading=False).with_task_end(own) is None


def test_nothing_goes_with_the_end_of_an_unknown_run_or_with_what_is_no_end() -> None:
    end = RunEnded("x-0.1", "x", "ann", "ok")
    assert merged().with_task_end(Append((NewEvent("run:x-0.1", end),), "worker:n", "1")) is None
    assert merged().with_task_end(Append((NewEvent("run:t-0.1", STARTED),), "worker:n", "1")) is None
