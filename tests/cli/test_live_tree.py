"""A run of a workflow as it is drawn on a terminal: folded until it fits, and only what differs is written."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len

from maestro.cli.live_layout import Look
from maestro.cli.live_screen import Screen, changes
from maestro.cli.live_tree import Tree
from tests.cli.terminals import Terminal

RUN = "01J9ABCDEFGHJKMNPQRSTVWXYZ"
NOW = 1_796_033_100.0
RUNNING = {
    "id": RUN, "workflow": "deploy", "version": 3, "status": "running", "started_at": "2026-11-30T10:00:00Z",
    "usage": {"tokens": 1200, "cost": 0.5},
}  # fmt: skip


def row(step: str, status: str = "completed", item: int | None = None, **more: Any) -> dict[str, Any]:
    id = step + (f"[{item}]" if item is not None else "")
    began = None if status in ("waiting", "skipped") else "2026-11-30T10:04:00Z"
    ended = None if status in ("waiting", "running") else "2026-11-30T10:04:45Z"
    known = {"id": id, "step": step, "round": 1, "item": item, "status": status, "waiting_for": "", "agent": "tester",
             "attempt": 1, "outcome": None, "why": None, "started_at": began, "ended_at": ended,
             "usage": {"tokens": 1, "cost": 0.0}}  # fmt: skip
    return known | more


def tree(*rows: dict[str, Any], **item: Any) -> Tree:
    made = Tree()
    made.take({"now": NOW, "run": RUNNING, "steps": list(rows), "whole": True, **item})
    return made


def test_each_step_is_a_line_with_state_agent_time_cost_and_what_was_printed_last() -> None:
    drawn = tree(
        row("build", usage={"tokens": 1, "cost": 0.25}),
        row("test", "running", attempt=2),
        row("lint", "failed", outcome="exit", why="exit 3"),
        row("ask", "waiting", waiting_for="approval", prompt="Ship it?", agent=None),
        row("ship", "waiting", waiting_for="needs", needs=["ask"], agent=None),
        lines={"test": "12 passed"},
    ).lines(Look(80, 24))
    assert drawn == [
        "deploy v3  running  5m  2 of 5 ended  1200 tokens  cost 0.50",
        "├─ ✔ build  tester   45s  0.25",
        "├─ ▶ test   tester   60s        attempt 2: 12 passed",
        "├─ ✘ lint   tester   45s        exit 3",
        "├─ · ask                        asks: Ship it?",
        "└─ · ship                       waits for ask",
        f"  to approve: maestro workflow approve {RUN} ask",
    ]


def test_items_stand_below_their_step_and_are_folded_where_the_terminal_is_low() -> None:
    rows = [row("review", "completed", item) for item in range(10)]
    rows += [row("review", "running", 10), row("review", "waiting", 11, waiting_for="slot"), row("last", "waiting")]
    drawn = tree(*rows)
    whole = drawn.lines(Look(80, 24))
    assert len(whole) == 1 + 1 + 12 + 1
    assert whole[1].endswith("1 running, 10 completed, 1 waiting")
    low = drawn.lines(Look(80, 7))
    assert len(low) <= 6
    assert any("[10]" in line for line in low)
    assert not any("[3]" in line for line in low)


def test_a_step_keeps_its_place_when_it_gets_its_items() -> None:
    drawn = tree(row("a"), row("check", "waiting"), row("z", "waiting"))
    drawn.take({"now": NOW, "steps": [row("check", "running", 0), row("check", "running", 1)], "gone": ["check"]})
    names = [line.split()[2] for line in drawn.lines(Look(80, 24))[1:]]
    assert names[:2] == ["a", "check"] and names[-1] == "z"


def test_failures_and_questions_are_seen_among_very_many() -> None:
    rows = [row(f"s{n}", ("completed", "running", "waiting")[n % 3]) for n in range(300)]
    rows += [row("bad", "failed", outcome="exit"), row("ask", "waiting", waiting_for="approval")]
    drawn = tree(*rows).lines(Look(80, 24))
    assert len(drawn) == 23
    assert any("bad" in line for line in drawn)
    assert any(line.strip("├└─ ").startswith("· ask") for line in drawn)
    assert "more" in drawn[-2] and f"approve {RUN} ask" in drawn[-1]


def test_what_agents_print_cannot_act_on_the_terminal() -> None:
    drawn = tree(row("a", "running", agent="x\x1b[2J"), lines={"a": "\x1b]0;title\x07 \u202e"}).lines(Look(80, 24))
    assert not any(char in line for line in drawn for char in "\x1b\x07\u202e")


def test_without_unicode_it_is_drawn_in_ascii() -> None:
    drawn = tree(row("a"), row("b", "running")).lines(Look(80, 24, ascii=True))
    assert "".join(drawn).isascii()


STATUSES = ("completed", "failed", "running", "waiting", "skipped", "timed_out")


@settings(max_examples=60)
@given(st.data(), st.integers(20, 120), st.integers(3, 40))
def test_it_fits_whatever_there_is(data: st.DataObject, width: int, height: int) -> None:
    rows = []
    for step in range(data.draw(st.integers(1, 12))):
        count = data.draw(st.sampled_from([0, 0, 1, 5, 40]))
        for item in range(count) if count else (None,):
            status = data.draw(st.sampled_from(STATUSES))
            name = data.draw(st.sampled_from(["a", "step-with-a-long-name" * 3, "日本語日本語"])) + str(step)
            wait = data.draw(st.sampled_from(["approval", "slot", "needs"])) if status == "waiting" else ""
            rows.append(row(name, status, item, waiting_for=wait, why="because " * 20))
    lines = {each["id"]: "日本" * 60 for each in rows}
    drawn = tree(*rows, lines=lines).lines(Look(width, height))
    assert len(drawn) < height
    assert all(cell_len(line) < width for line in drawn), drawn


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from(["", "a", "bb", "ccc ccc"]), max_size=9), max_size=12))
def test_a_screen_shows_the_lines_that_were_drawn_last(steps: list[list[str]]) -> None:
    terminal = Terminal(20, 24).feed("before\n")
    known: list[str] = []
    for lines in steps:
        terminal.feed(changes(known, lines))
        known = lines
        assert [line.rstrip() for line in terminal.rows[1 : 1 + len(lines)]] == lines
        assert (terminal.row, terminal.column) == (1 + len(lines), 0)
        assert not any(terminal.rows[1 + len(lines) :])
    terminal.feed("after\n")
    assert terminal.shown()[0] == "before" and terminal.shown()[-1] == "after"


def test_only_the_line_that_changed_is_written() -> None:
    before = [f"line {n}" for n in range(20)]
    after = [*before[:7], "line seven", *before[8:]]
    assert changes(before, after) == "\x1b[13A\rline seven\x1b[K\n\x1b[12B"
    assert changes(after, after) == ""


def test_a_terminal_that_becomes_narrower_is_drawn_anew() -> None:
    out = io.StringIO()
    screen = Screen(out)
    sizes = [(80, 24)]
    screen.size = lambda: sizes[-1]  # type: ignore[method-assign]
    screen.draw(["x" * 70, "y"], 80)
    sizes.append((40, 24))
    screen.draw(["x" * 30, "y"], 40)
    assert "\x1b[3A\r\x1b[J" in out.getvalue()  # the first line takes two of the narrower ones


@pytest.mark.parametrize("shape", ["items", "steps"])
def test_a_run_costs_no_more_to_draw_than_its_rows(shape: str) -> None:
    """Processor time of this process alone, of many rows against few: it is a part of a millisecond for ten rows."""

    def cost(count: int) -> float:
        rows = [
            row("review", STATUSES[n % 4], n, waiting_for="slot") if shape == "items" else row(f"s{n}", STATUSES[n % 4])
            for n in range(count)
        ]
        drawn = tree(*rows)
        best = 1.0
        for _ in range(9):
            began = time.process_time()
            drawn.take({"now": NOW, "steps": rows[:20], "run": RUNNING})
            drawn.lines(Look(80, 24, styled=True))
            best = min(best, time.process_time() - began)
        return best

    assert cost(1000) < 12 * cost(250)
