"""Failsafe mode's decisions: which ends have a workspace go back, and that nobody works there until it has."""

from __future__ import annotations

from itertools import count

import pytest

from maestro.model import agent as agents, events as e
from maestro.model.agent import Agent
from maestro.model.errors import Refused
from maestro.model.events import AnyFact, Event, NewEvent
from maestro.model.monitoring.failsafe import (
    HELD,
    decide_dropped,
    decide_guard,
    decide_kept,
    decide_returned,
    goes_back,
    held,
    is_on,
    told,
)
from maestro.model.outcome import SEVERITY
from maestro.model.scheduling.backlog import backlog
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import decide
from maestro.model.scheduling.waiting import why_waiting

GUARD = e.WorkspaceGuarded("ann", "t-0.1", "t", "/w", "s-1", "north")
RETURNED = e.FailsafeReturned("ann", "t-0.1", "t", "/w", "s-1", "s-2", "exit")


def history(*facts: AnyFact, start: int = 1) -> list[Event]:
    numbers = count(start)
    return [Event(seq := next(numbers), "x", seq, "", "", seq - 1, fact) for fact in facts]


def agent(*facts: AnyFact) -> Agent:
    row = None
    for event in history(e.AgentAssigned("ann", "sh", {}, "/r", "/w", node="north"), *facts):
        row = agents.evolve(row, event)
    assert row is not None
    return row


def facts(events: list[NewEvent]) -> list[AnyFact]:
    return [event.fact for event in events]


def test_every_bad_end_has_the_workspace_go_back_and_no_wanted_one() -> None:
    stay = {outcome for outcome in SEVERITY if not goes_back(outcome, restart=False)}
    assert stay == {"ok", "cancelled"}
    assert not goes_back("lost", restart=True), "an orderly stop of its daemon"


@pytest.mark.parametrize(("wanted", "mode", "on"), [(None, True, True), (None, False, False), (False, True, False)])
def test_the_type_overrides_the_variable(wanted: bool | None, mode: bool, on: bool) -> None:
    assert is_on(wanted, mode) is on and is_on(True, mode)


def test_a_guard_is_told_once_and_not_over_another_run_or_in_another_place() -> None:
    assert facts(decide_guard(GUARD, agent(), 0)) == [GUARD]
    with pytest.raises(Refused, match="has yet to go back"):
        decide_guard(e.WorkspaceGuarded("ann", "u-0.1", "u", "/w", "s-9", "north"), agent(GUARD), 0)
    with pytest.raises(Refused, match="any more"):
        decide_guard(e.WorkspaceGuarded("ann", "u-0.1", "u", "/else", "s-9", "north"), agent(), 0)


def test_what_became_of_a_workspace_is_said_with_the_way_to_what_the_run_left() -> None:
    end = e.FailsafeReturned("ann", "t-0.1", "t", "/a b", "s-1", "s-2", "exit")
    assert told(end).endswith("what the run left is in s-2: maestro state restore s-2 --workspace '/a b'")
    same, gone = (e.FailsafeReturned("ann", "t-0.1", "t", "/w", "s-1", failed, "exit") for failed in ("s-1", ""))
    assert told(same) == "its workspace is what it was before the run (snapshot s-1)"
    assert told(gone).endswith("; the run had removed all of it")
    third = e.FailsafeReturned("ann", "t-0.1", "t", "/w", "s-1", "s-1", "exit", 3)
    assert "agent ann is held (maestro agent health ann" in told(third) and told(third).endswith("after 3 bad runs")
    kept = told(e.FailsafeKept("ann", "t-0.1", "t", "/w", "s-1", "why"))
    assert kept.startswith("its workspace stays as the run left it, and agent ann is held") and kept.endswith(": why")


def test_what_is_told_twice_is_told_once() -> None:
    row = agent(GUARD)
    assert facts(decide_returned(RETURNED, row, 0)) == [RETURNED]
    dropped = e.GuardDropped("ann", "t-0.1")
    for answer in (RETURNED, dropped, e.FailsafeKept("ann", "t-0.1", "t", "/w", "s-1", "x")):
        after = agent(GUARD, answer)
        assert not decide_returned(RETURNED, after, 0) and not decide_dropped(dropped, after, 0)
        assert not decide_kept(e.FailsafeKept("ann", "t-0.1", "t", "/w", "s-1", "x"), after, 0)


def test_the_third_return_in_a_row_holds_the_agent_and_a_good_end_counts_anew() -> None:
    twice = [GUARD, e.FailsafeReturned("ann", "t-0.1", "t", "/w", "s-1", "s-2", "exit", 2)]
    returned, stopped = facts(decide_returned(RETURNED, agent(*twice, GUARD), 0))
    assert isinstance(returned, e.FailsafeReturned) and returned.in_a_row == 3
    assert isinstance(stopped, e.AgentStopped) and stopped.reason.startswith(HELD)
    good = e.GuardDropped("ann", "t-0.1", good=True)
    assert len(decide_returned(RETURNED, agent(*twice, GUARD, good, GUARD), 0)) == 1
    bad = e.GuardDropped("ann", "t-0.1")
    assert len(decide_returned(RETURNED, agent(*twice, GUARD, bad, GUARD), 0)) == 2, "a cancelled run proves nothing"
    assert len(decide_returned(RETURNED, agent(*twice, e.AgentRestarted("ann"), GUARD), 0)) == 1


def test_a_kept_workspace_holds_its_agent_with_both_ways_out() -> None:
    kept = e.FailsafeKept("ann", "t-0.1", "t", "/a b", "s-1", "somebody has changed it")
    stopped = facts(decide_kept(kept, agent(GUARD), 0))[1]
    assert isinstance(stopped, e.AgentStopped)
    assert "`maestro state restore s-1 --workspace '/a b'`" in stopped.reason
    assert "`maestro agent restart ann`" in stopped.reason
    assert held(agent(GUARD, kept, stopped)).startswith("somebody") and not held(agent())
    assert not held(agent(e.AgentStopped("ann", "by hand")))


def test_a_move_or_a_reset_leaves_no_guard_and_a_restart_or_another_role_does() -> None:
    moved = e.AgentAssigned("ann", "sh", {}, "/r", "/else", node="north")
    role = e.AgentAssigned("ann", "sh", {}, "/r", "/w", role="chief", node="north")
    assert agent(GUARD, moved).guard is None and agent(GUARD, e.AgentReset("ann")).guard is None
    assert agent(GUARD, role).guard is not None and agent(GUARD, e.AgentRestarted("ann")).guard is not None


@pytest.mark.parametrize("answer", [RETURNED, e.GuardDropped("ann", "t-0.1")])
def test_nobody_works_in_a_guarded_workspace_before_its_answer(answer: AnyFact) -> None:
    """As after the end of a run that its node could not tell: the agent is free, its workspace has yet to go back."""
    plan = Plan()
    for event in history(
        e.NodeJoined("north", "host", "1", 7, 4, "build"),
        e.AgentAssigned("ann", "sh", {}, "/r", "/w", node="north"),
        GUARD,
        e.TaskDispatched("u", "p", "p", ("ann",)),
    ):
        plan.apply(event)
    assert not decide(plan, 10)
    assert why_waiting(plan, plan.tasks["u"], 0, 10) == "the workspace of agent ann to be as it was before run t-0.1"
    assert backlog(plan)["agent"].depth == 1, "metrics do not call it ready"
    plan.apply(history(answer, start=5)[0])
    (decision,) = decide(plan, 11)
    assert isinstance(decision.events[0].fact, e.RunReleased)
