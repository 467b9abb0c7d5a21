"""A restore ends open runs of workflows as a whole, each once; or they go on as they stood at the position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.restore import RESTORED, OpenWork, decide_restore_end, line
from maestro.model.workflow.run_header import RunHeader, evolve
from tests.model.facts import World, agent, node, task
from tests.model.history import Log

RUNS = ("r", "s", "t")


def of(run: str, *facts: e.AnyFact) -> list[NewEvent]:
    return [NewEvent(f"workflow-run:{run}", fact) for fact in facts]


def started(run: str, **more: Any) -> NewEvent:
    return of(run, e.WorkflowRunStarted(run, "deploy", 1, "{}", **more))[0]


def headers(log: Log, end: int | None = None) -> dict[str, RunHeader]:
    """The headers at a position."""
    found: dict[str, RunHeader] = {}
    for positions in line(log.restores, log.head if end is None else end):
        for event in log.events[positions.start - 1 : positions.stop - 1]:
            run = event.subject.removeprefix("workflow-run:")
            if event.subject != run and (row := evolve(found.get(run), event)) is not None:
                found[run] = row
    return found


def opened(rows: Iterable[RunHeader]) -> list[RunHeader]:
    return [row for row in rows if row.open]


def restore(log: Log, to: int, resume: bool = False, now: Sequence[RunHeader] | None = None) -> list[Any] | None:
    """Restore; what was appended, None where the log refused it."""
    then = OpenWork((), opened(headers(log, to).values()))
    open_now = OpenWork((), opened(headers(log).values()) if now is None else now)
    events = decide_restore_end(e.RestoreDone("x", to), open_now, then, log.floor, resume)
    return log.append(events, floors=True)


def ends(events: Iterable[Any]) -> list[tuple[str, str, str]]:
    return [
        (event.fact.run, event.fact.status, event.fact.outcome)
        for event in events
        if isinstance(event.fact, e.WorkflowRunFinished)
    ]


def test_what_is_open_now_or_was_then_ends_once_with_its_children_and_without_handlers() -> None:
    log = Log()
    log.append([started("r"), started("c", parent="r", instance="ship"), *of("r", e.StepStarted("r", "ship", 1))])
    to = log.head
    log.append([*of("c", e.WorkflowRunFinished("c", "completed", "ok")), started("later")])
    found = restore(log, to)
    assert found is not None
    cancelled = ("cancelled", "restored")
    assert ends(found) == [("later", *cancelled), ("r", *cancelled), ("c", *cancelled)]
    assert [type(event.fact) for event in found[1:2]] == [e.RestoreDone]
    rows = headers(log)
    assert sorted(rows) == ["c", "r"]
    assert {(row.status, row.outcome, row.why) for row in rows.values()} == {(*cancelled, RESTORED)}


def test_what_was_held_or_paused_or_queued_in_a_group_is_held_no_more() -> None:
    log = Log()
    log.append([started("r", group="main"), started("s", group="main")])
    log.append([*of("r", e.WorkflowRunAdmitted("r"), e.WorkspaceArchiveWanted("r", "a", "n", "/w/a"))])
    log.append(of("r", e.WorkflowRunPaused("r", "budget")))
    restore(log, log.head)
    rows = headers(log)
    assert [(row.status, row.held) for row in rows.values()] == [("cancelled", {}), ("cancelled", {})]


def test_a_run_that_moves_meanwhile_is_in_the_way_of_the_end_of_a_restore() -> None:
    log = Log()
    log.append([started("r")])
    before = opened(headers(log).values())
    log.append(of("r", e.StepReadied("r", "a", 1)))
    assert restore(log, 1, now=before) is None
    assert restore(log, 1) is not None


def test_behind_a_restore_the_log_takes_the_next_fact_at_the_floor_and_none_from_before() -> None:
    log = Log()
    log.append([started("r"), *of("r", e.StepReadied("r", "gate", 1, approval="Ship?"))])
    to = log.head
    log.append(of("r", e.StepApproved("r", "gate", approved=True)))
    restore(log, to, resume=True)
    row = headers(log)["r"]
    late = NewEvent("workflow-run:r", e.StepApproved("r", "gate", approved=True), 3)
    assert log.append([late]) is None
    assert log.append([NewEvent("workflow-run:r", late.fact, max(row.seq, log.floor))])


def test_the_task_of_a_step_ends_with_its_run() -> None:
    world = World(node(), agent("a"))
    run = started("r")
    world.log.append([run, *of("r", e.StepStarted("r", "build", 1, "t"))])
    world.happens(task("t", workflow="r", step="build")).decides()
    world.starts("t-0.1")
    to = world.log.head
    tasks = [row for row in world.log.fold(to).tasks.values() if row.open]
    open_then = OpenWork(tasks, opened(headers(world.log).values()))
    events = decide_restore_end(e.RestoreDone("x", to), open_then, open_then, world.log.floor)
    assert world.log.append(events, floors=True)
    row = world.log.fold().tasks["t"]
    assert (row.status, row.slots[0].runs[0].outcome) == ("cancelled", "cancelled")
    assert headers(world.log)["r"].status == "cancelled"


FACTS = [
    e.WorkflowRunAdmitted,
    e.WorkflowRunPaused,
    e.WorkflowRunResumed,
    lambda run: e.StepReadied(run, "a", 1),
    lambda run: e.StepStarted(run, "a", 1),
    lambda run: e.StepEnded(run, "a", "failed", "exit", next="retry"),
    lambda run: e.WorkspaceArchiveWanted(run, "a", "n", "/w/a"),
    lambda run: e.WorkflowRunEnding(run, "failed", "step a failed", "a"),
    lambda run: e.WorkflowRunFinished(run, "completed", "ok"),
]
MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(RUNS), st.integers(-1, len(FACTS) - 1)), st.tuples(st.integers(0, 99), st.booleans())
    ),
    max_size=40,
)


@given(MOVES, st.integers(0, 99), st.booleans())
def test_after_any_history_nothing_stays_open_or_all_of_then_goes_on(moves: list[Any], to: int, resume: bool) -> None:
    log = Log()
    for which, move in moves:
        if isinstance(which, int):
            assert restore(log, which % (log.head + 1), move) is not None
            continue
        row = headers(log).get(which)
        if row is None or not row.open:
            log.append([NewEvent(f"workflow-run:{which}", started(which).fact, max(row.seq if row else 0, log.floor))])
        elif move >= 0:
            fact: Any = FACTS[move](which)  # type: ignore[operator]
            assert log.append([NewEvent(f"workflow-run:{which}", fact, max(row.seq, log.floor))])
    to %= log.head + 1
    then, now = headers(log, to), headers(log)
    found = restore(log, to, resume)
    assert found is not None
    after = headers(log)
    assert after.keys() == then.keys()
    if resume:
        assert after == then
    else:
        assert not opened(after.values())
        assert all(after[run] == row for run, row in then.items() if not row.open)
        assert all(after[run].outcome == "restored" for run in after if then[run].open)
    told = [run for run, _, _ in ends(found)]
    gone = {run for run, row in now.items() if row.open}
    assert len(told) == len(set(told))
    assert gone | ({run for run, row in then.items() if row.open} if not resume else set()) == set(told)
