"""What is said of a run and its steps in words: why one waits, how it ended, who answered."""

from __future__ import annotations

from typing import Any

import pytest

from maestro.cli.run_words import remark, seconds_of, took
from tests.cli.test_live_tree import row

DUE = "2026-11-30T10:00:09Z"
NOW = seconds_of("2026-11-30T10:00:05Z")
HELD = "node n1 is held: shutdown"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"waiting_for": "agent", "reason": HELD}, f"waits: {HELD}"),
        ({"waiting_for": "slot", "reason": "a slot on node n1"}, "waits for a slot on node n1"),
        ({"waiting_for": "agent"}, "waits for its agent"),
        (
            {"waiting_for": "retry", "due": DUE, "outcome": "exit", "why": "tester: exit, exit 7"},
            "exit 7; waits for its next attempt, in 4.0s",
        ),
        ({"waiting_for": "retry", "reason": HELD, "outcome": "lost"}, f"lost; waits for its next attempt; {HELD}"),
        ({"waiting_for": "needs", "why": "runs at the end"}, "runs at the end"),
        ({"waiting_for": "needs", "needs": ["a", "b"]}, "waits for a, b"),
        ({"waiting_for": "approval", "prompt": "Ship it?"}, "asks: Ship it?"),
    ],
)
def test_a_step_that_waits_says_for_what_why_and_until_when(fields: dict[str, Any], said: str) -> None:
    assert remark(row("a", "waiting", **fields), NOW) == said


@pytest.mark.parametrize(
    ("why", "outcome", "agent", "said"),
    [
        (".run: exit, exit 7", "exit", "run", "exit 7"),
        ("run: exit, exit 2", "exit", "run", "exit 2"),
        ("exit: run: exit, exit 2", "exit", "run", "exit 2"),
        ("cancelled: cancelled: workflow run R", "cancelled", "run", "cancelled: workflow run R"),
        ("", "no_convergence", "run", "no_convergence"),
        ("too much", "schema", "claude", "schema: too much"),
    ],
)
def test_a_failure_says_nothing_twice(why: str, outcome: str, agent: str, said: str) -> None:
    assert remark(row("a", "failed", why=why, outcome=outcome, agent=agent)) == said


def test_an_answered_approval_says_what_whose_and_why() -> None:
    answer = {"approved": True, "by": "cli:ann", "reason": "fine", "timed_out": False}
    assert remark(row("gate", answer=answer)) == "approved by cli:ann: fine"
    answer = {"approved": False, "by": None, "reason": None, "timed_out": True}
    assert remark(row("gate", "failed", answer=answer)) == "rejected at its time limit, as nobody answered"


def test_what_was_taken_over_says_from_where_and_short_times_are_told_to_the_tenth() -> None:
    assert remark(row("a", reused="R0")) == "taken over from run R0"
    assert [took(0.26), took(9.94), took(12.6), took(300)] == ["0.3s", "9.9s", "12s", "5m"]
