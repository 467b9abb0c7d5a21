"""Concurrency groups: one run at a time, in the order of their starts, whatever comes and goes."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, strategies as st

from maestro.model.facts.workflow import (
    WorkflowRunAdmitted,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunStarted,
)
from maestro.model.workflow.groups import Groups


def started(run: str, group: str = "g", when_busy: str = "queue", parent: str = "") -> WorkflowRunStarted:
    return WorkflowRunStarted(run, "w", 1, "", group=group, when_busy=when_busy, parent=parent)


def groups(*facts: WorkflowRunStarted) -> Groups:
    found = Groups()
    for position, fact in enumerate(facts, 1):
        found.add(fact.run, position, fact)
    return found


def none_ends(_run: str) -> bool:
    return False


def test_the_first_is_let_in_and_the_others_wait_for_it_in_order() -> None:
    three = groups(started("a"), started("b"), started("c"), started("d", "other"))
    assert three.admission("a", none_ends) == [("a", WorkflowRunAdmitted("a"))]
    assert three.admission("d", none_ends) == [("d", WorkflowRunAdmitted("d"))]
    assert three.admission("b", none_ends) is None
    assert (three.holder("a"), three.holder("b"), three.holder("c")) == ("", "a", "a")
    assert three.remove("b") == []
    assert three.remove("a") == ["c"]
    assert three.admission("c", none_ends) == [("c", WorkflowRunAdmitted("c"))]
    assert three.remove("c") == []


def test_who_is_to_be_refused_ends_and_is_told_by_whom() -> None:
    two = groups(started("a"), started("b", when_busy="reject"))
    why = "run a has the group g"
    assert two.admission("b", none_ends) == [("b", WorkflowRunFinished("b", "cancelled", "rejected", why))]
    assert groups(started("b", when_busy="reject")).admission("b", none_ends) == [("b", WorkflowRunAdmitted("b"))]


def test_who_replaces_ends_all_before_it_and_starts_behind_the_last_of_them() -> None:
    three = groups(started("a"), started("b"), started("c", when_busy="replace"), started("d"))
    told = three.admission("c", none_ends)
    assert told is not None
    assert [(run, type(fact), fact.status) for run, fact in told if isinstance(fact, WorkflowRunEnding)] == [
        ("a", WorkflowRunEnding, "cancelled"),
        ("b", WorkflowRunEnding, "cancelled"),
    ]
    assert three.admission("c", lambda run: True) is None  # a still runs its finally
    assert three.remove("b") == []
    assert three.remove("a") == ["c"]
    assert three.admission("c", none_ends) == [("c", WorkflowRunAdmitted("c"))]
    assert three.admission("d", none_ends) is None


def test_a_child_shares_the_group_of_a_run_above_it_and_waits_in_any_other() -> None:
    family = groups(
        started("a"), started("x", "h"), started("b", "", parent="a"), started("c", parent="b"),
        started("d", "h", parent="b"), started("e"),
    )  # fmt: skip
    assert family.admission("c", none_ends) == [("c", WorkflowRunAdmitted("c"))]
    assert family.admission("d", none_ends) is None
    assert family.remove("c") == []
    assert family.admission("e", none_ends) is None
    assert family.remove("x") == ["d"]


class Line:
    """Runs that come, are let in and end, and what the log would then have of them."""

    def __init__(self) -> None:
        self.groups = Groups()
        self.waiting: dict[str, tuple[str, int]] = {}
        self.running: dict[str, tuple[str, int]] = {}
        self.ending: set[str] = set()
        self.last = {"g": 0, "h": 0}

    def end(self, run: str) -> None:
        (self.running if run in self.running else self.waiting).pop(run)
        self.groups.remove(run)

    def settle(self) -> None:
        """Tell all that is to be told, until everybody waits or runs."""
        while any(self.told(run) for run in list(self.waiting)):
            pass

    def told(self, run: str) -> bool:
        facts = self.groups.admission(run, self.ending.__contains__) if run in self.waiting else None
        for other, fact in facts or ():
            if isinstance(fact, WorkflowRunAdmitted):
                group, position = self.running[other] = self.waiting.pop(other)
                assert [one for one, _ in self.running.values()].count(group) == 1
                assert position > self.last[group]
                self.last[group] = position
            elif isinstance(fact, WorkflowRunFinished) or other in self.waiting:
                self.end(other)
            else:
                self.ending.add(other)
        return bool(facts)


WAYS = st.sampled_from(["queue", "queue", "reject", "replace"])
MOVES = st.tuples(st.sampled_from(["add", "end"]), st.integers(0, 9), st.sampled_from("gh"), WAYS)


@given(st.lists(MOVES, max_size=40))
def test_there_are_never_two_in_a_group_and_they_come_in_order(moves: list[tuple[str, int, str, str]]) -> None:
    line = Line()
    for number, (what, which, group, when_busy) in enumerate(moves, 1):
        known = sorted([*line.running, *line.waiting])
        if what == "add":
            line.groups.add(f"r{number}", number, started(f"r{number}", group, when_busy))
            line.waiting[f"r{number}"] = (group, number)
        elif known:
            line.end(known[which % len(known)])
        line.settle()
        held = {group for group, _ in line.running.values()}
        assert {group for group, _ in line.waiting.values()} <= held  # nobody waits for nothing


def test_a_thousand_runs_that_wait_cost_no_more_each_than_ten() -> None:
    def cost(size: int) -> int:
        live = groups(*(started(f"r{number}") for number in range(size)))
        count = 0

        def seen(_frame: Any, event: str, _arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(seen)
        try:
            for number in range(size):
                live.admission(f"r{number}", none_ends)
                live.remove(f"r{number}")
        finally:
            sys.setprofile(None)
        return count

    assert cost(1000) <= 100 * cost(10) * 1.1
