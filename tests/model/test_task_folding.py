"""The machines of task, slot and run: every fact in every status, and what a fold must never do."""

from __future__ import annotations

import copy
import typing

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from maestro.model import agent as agents, events as e, node as nodes, state, task as tasks
from maestro.model.events import FACTS, Event
from maestro.model.outcome import FINISHED, LOSSES_MAX, SEVERITY
from tests.model.facts import World, agent, node, task

RUN = ("t-0.1", "t", "a")
RUN_FACTS: dict[str, e.AnyFact] = {
    "started": e.RunStarted(*RUN, "n", "/f", "/w"),
    "ended": e.RunEnded(*RUN, "ok", 0),
    "session": e.RunSessionOpened(*RUN, "s"),
    "usage": e.RunUsageReported(*RUN, 1, 2, 0.5),
    "parked": e.RunParked(*RUN, 4),
}


def released() -> World:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    return world


@pytest.mark.parametrize(
    ("happened", "fact", "status"),
    [
        ([], "started", "running"),
        ([], "ended", "ended"),
        ([], "session", "released"),
        ([], "usage", "released"),
        (["started"], "started", "running"),
        (["started"], "usage", "running"),
        (["started"], "ended", "ended"),
        (["started", "ended"], "started", "ended"),
        (["started", "ended"], "ended", "ended"),
        (["started", "ended"], "parked", "ended"),
    ],
)
def test_a_run_moves_as_its_table_says(happened: list[str], fact: str, status: str) -> None:
    world = released().happens(*(RUN_FACTS[name] for name in happened))
    assert world.happens(RUN_FACTS[fact]).slot("t").runs[0].status == status


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("on_lost", ["retry", "fail"])
@pytest.mark.parametrize("target", ["a", "role:r"])
@pytest.mark.parametrize("outcome", SEVERITY)
def test_a_run_may_go_on_exactly_where_its_slot_then_waits_and_is_not_parked(
    outcome: str, target: str, on_lost: str, retries: int
) -> None:
    given = task("t", target, retries=retries, on_lost=on_lost)
    world = World(node(), agent("a", role="r"), agent("b", role="r"), given)
    for attempt in range(1, 6):
        if not world.releases():
            break
        name = f"t-0.{attempt}"
        world.starts(name)
        foreseen = tasks.may_go_on(world.task("t"), name, outcome)
        assert not tasks.may_go_on(world.task("t"), "t-0.9", outcome)
        world.ends(name, outcome)
        losses_are_up = world.slot("t").losses > LOSSES_MAX
        assert foreseen == (world.slot("t").status == "waiting" and not losses_are_up)
    else:
        raise AssertionError("it goes on for ever")


def test_a_task_is_queued_again_where_all_that_was_on_is_lost_and_nothing_is_over() -> None:
    lost = e.RunEnded(*RUN, "lost", restart=True)
    world = released().happens(RUN_FACTS["started"])
    assert world.task("t").status == "running"
    assert world.happens(lost).task("t").status == "queued"
    again = ("t-0.2", "t", "a")
    world.happens(e.RunReleased("t-0.2", "t", 0, 2, "a", "n", 9.0, 1), e.RunStarted(*again, "n", "/f", "/w"))
    assert world.task("t").status == "running"
    assert world.happens(e.RunEnded(*again, "exit", 1)).task("t").status == "running", "its end is to be recorded"


def test_a_task_of_which_something_else_is_on_or_over_goes_on_running() -> None:
    world = World(node(), agent("a"), agent("b"), task("t", "a", "b"))
    world.decides()
    for name, who in (("t-0.1", "a"), ("t-1.1", "b")):
        world.happens(e.RunStarted(name, "t", who, "n", "/f", "/w"))
    assert world.happens(e.RunEnded("t-0.1", "t", "a", "lost")).task("t").status == "running"
    world.happens(e.RunEnded("t-1.1", "t", "b", "ok", 0))
    assert world.task("t").status == "running"


def test_the_first_end_of_a_run_stays() -> None:
    world = released().happens(RUN_FACTS["started"], e.RunEnded(*RUN, "exit", 1), e.RunEnded(*RUN, "ok", 0))
    assert world.slot("t").outcome == "exit"
    assert world.slot("t").failures == 1


def test_a_task_is_running_from_its_first_start_until_it_is_finished() -> None:
    world = released()
    assert world.task("t").status == "queued"
    assert world.happens(RUN_FACTS["started"]).task("t").status == "running"
    assert world.happens(RUN_FACTS["ended"]).task("t").status == "running"
    world.decides()
    assert world.task("t").status == "completed"
    world.happens(e.TaskFinished("t", "failed", "exit"))
    assert world.task("t").status == "completed"
    assert world.happens(e.TaskRetried("t")).task("t").status == "queued"


def test_a_retry_starts_the_counts_anew_and_keeps_the_runs() -> None:
    world = released().happens(RUN_FACTS["started"], e.RunEnded(*RUN, "exit", 1))
    world.decides()
    row = world.happens(e.TaskRetried("t")).task("t")
    assert (row.cancel, row.exit_code, row.outcome, row.finished_at) == (None, None, "", 0)
    (slot,) = row.slots
    assert (slot.failures, slot.losses, slot.tries, len(slot.runs)) == (0, 0, [], 1)


def test_usage_adds_up_on_run_and_agent() -> None:
    world = released().happens(RUN_FACTS["started"], RUN_FACTS["usage"], RUN_FACTS["usage"])
    run, row = world.slot("t").runs[0], world.agent("a")
    assert (run.input_tokens, run.output_tokens, run.cost) == (2, 4, 1.0)
    assert (row.input_tokens, row.output_tokens, row.cost) == (2, 4, 1.0)


def test_the_tables_know_every_status() -> None:
    assert set(tasks.TASK_MOVES) == {"queued", "running", "finished"}
    assert {status for moves in tasks.RUN_MOVES.values() for status in moves.values()} <= set(tasks.RUN_MOVES)
    assert not FINISHED & set(tasks.TASK_MOVES)


def facts() -> st.SearchStrategy[e.AnyFact]:
    """Any facts about few names, so that they meet."""
    names = {"task": "t", "agent": "a", "run": "t-0.1", "node": "n", "key": "k", "slug": "code"}

    def of(kind: type[e.AnyFact]) -> st.SearchStrategy[e.AnyFact]:
        hints = typing.get_type_hints(kind)
        fixed = {field: st.just(name) for field, name in names.items() if field in hints}
        if "targets" in hints:
            fixed |= {"targets": st.just(("a", "type:code"))}
        if "slot" in hints:
            fixed |= {"slot": st.integers(0, 2), "run": st.sampled_from(["t-0.1", "t-1.1", "t-0.2"])}
        if "outcome" in hints:
            fixed |= {"outcome": st.sampled_from(["ok", "exit", "lost", "oom", "timeout", "cancelled", "new"])}
        if "status" in hints:
            fixed |= {"status": st.sampled_from(sorted(FINISHED))}
        if "definition" in hints:
            fixed |= {"definition": st.just({"capabilities": ["x"]})}
        return st.builds(kind, **fixed)

    return st.one_of([of(kind) for kind in FACTS.values()])


@given(st.lists(facts(), max_size=25))
@settings(max_examples=150, deadline=None)
def test_every_fold_is_total_and_depends_on_nothing_but_row_and_event(drawn: list[e.AnyFact]) -> None:
    folds = (tasks.evolve, agents.evolve, agents.evolve_type, nodes.evolve, state.evolve)
    rows: list[object] = [None] * len(folds)
    for seq, fact in enumerate(drawn, 1):
        event = Event(seq, "x", 1000 + seq, "me", "", 0, fact)
        for index, fold in enumerate(folds):
            again = fold(copy.deepcopy(rows[index]), event)  # type: ignore[operator]
            rows[index] = fold(rows[index], event)  # type: ignore[operator]
            assert rows[index] == again
