"""The table of what may happen to a run on its node: each state, each event, and what is a defect."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import pytest

from maestro.runtime.node.pause import StartGate
from maestro.runtime.worker.execution import Execution
from maestro.runtime.worker.run_states import AT_GATE, TRANSITIONS, LocalDefect, RunEvent, RunState, following
from maestro.store.contract import WorkEntry

STATES, EVENTS = list(RunState), list(RunEvent)
LEGAL = [
    ("claimed", "prepare", "preparing"),
    ("reserved", "begin", "begun"),
    ("begun", "prepare", "preparing"),
    ("preparing", "ready", "prepared"),
    ("prepared", "launch", "running"),
    ("prepared", "over", "ending"),
    ("running", "verify", "verifying"),
    ("running", "over", "ending"),
    ("verifying", "over", "ending"),
    *((state.value, "leave", "gone") for state in STATES),
]
ONWARDS = {(RunState(state), RunEvent(event)): RunState(then) for state, event, then in LEGAL}


@pytest.mark.parametrize(("state", "event"), list(product(STATES, EVENTS)))
def test_each_event_in_each_state_leads_on_or_is_a_defect(state: RunState, event: RunEvent) -> None:
    then = ONWARDS.get((state, event))
    if then is not None:
        assert following(state, event) is then
        return
    with pytest.raises(LocalDefect, match=f"'{event.value}' cannot happen to a run that is {state.value}"):
        following(state, event)


def test_every_state_is_in_the_table_and_every_event_happens_in_one() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {event for events in TRANSITIONS.values() for event in events} == set(EVENTS)


def test_no_state_is_come_back_to_and_all_end_in_the_last() -> None:
    order = {state: number for number, state in enumerate(STATES)}
    steps = [(state, then) for (state, _), then in ONWARDS.items() if state is not RunState.GONE]
    assert all(order[then] > order[state] for state, then in steps)
    assert STATES[-1] is RunState.GONE and set(TRANSITIONS[RunState.GONE].values()) == {RunState.GONE}


@pytest.mark.parametrize(
    "events",
    [
        ["prepare", "ready", "launch", "over", "leave"],
        ["prepare", "ready", "launch", "verify", "over", "leave"],
        ["prepare", "ready", "over", "leave"],
        ["prepare", "leave"],
        ["leave"],
    ],
)
def test_the_ways_of_a_run_are_the_same_from_a_hint_and_from_reserved_room(events: list[str]) -> None:
    ends = []
    for start in (RunState.CLAIMED, following(RunState.RESERVED, RunEvent.BEGIN)):
        state = start
        for event in events:
            state = following(state, RunEvent(event))
        ends.append(state)
    assert ends == [RunState.GONE, RunState.GONE]


def test_a_start_is_under_way_from_the_reservation_to_the_end_of_the_preparation() -> None:
    assert {RunState.RESERVED, RunState.BEGUN, RunState.PREPARING} == AT_GATE


def test_the_gate_counts_a_run_in_reserved_room_until_it_is_given_up() -> None:
    gate = StartGate()
    run = Execution(
        cast(Any, SimpleNamespace(gate=gate, failsafe=None, context=None)), WorkEntry("n", "", "t-0.1", 0), ("ann",)
    )
    assert gate.inside(["ann"]) and not gate.inside(["ben"])
    run.begin(7)
    assert gate.inside(["ann"]) and (run.entry.token, run.log.version) == (7, 8)
    run.leave()
    run.leave()
    assert not gate.inside(None)
    with pytest.raises(LocalDefect):
        run.begin(9)


def test_the_gate_does_not_count_a_claimed_run() -> None:
    gate = StartGate()
    run = Execution(
        cast(Any, SimpleNamespace(gate=gate, failsafe=None, context=None)), WorkEntry("n", "1-0", "t-0.1", 7)
    )
    assert not gate.inside(None)
    with pytest.raises(LocalDefect):
        run.begin(7)
    run.leave()
    assert not gate.inside(None)
