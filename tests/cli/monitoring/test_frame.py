"""The live screen as lines: each size holds what matters, no text gets out of its place, keys do what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from maestro.cli.monitoring.frame import frame
from maestro.cli.monitoring.keys import Keys
from maestro.cli.monitoring.layout import Part, shared, total, window
from maestro.cli.monitoring.parts import told_once
from maestro.cli.monitoring.patches import patch, width_of
from maestro.cli.monitoring.pen import Pen, Piece
from maestro.cli.monitoring.view import Log, View, pressed
from maestro.model.ids import typed_instance
from maestro.model.workflow.instances import parse_instance
from tests.cli.monitoring.looks import HOSTILE, TASK, agent, alert, look, node, run, waiting
from tests.cli.monitoring.screens import Screen
from tests.counting import calls

SIZES = [(40, 10), (40, 60), (60, 20), (80, 24), (100, 30), (132, 43), (250, 10), (250, 80)]


def view(**parts: Any) -> View:
    made = View()
    made.take(look(**parts), 100.0)
    return made


def crowded(text: str = "") -> View:
    return view(
        agents=[agent(f"w{n}{text}", ("active", "failed", "idle", "stopped")[n % 4]) for n in range(60)],
        queue=[waiting(f"t{n}{text}") for n in range(60)],
        runs=[run(f"flow{n}{text}", asks=n % 2) for n in range(9)],
        alerts=[alert(f"alarm {n}{text}") for n in range(9)],
        nodes=[node(f"vm-{n}", "up" if n else "lost") for n in range(4)],
    )


def test_everything_is_there_at_80_by_24() -> None:
    shown = view(
        agents=[agent("w1", "active"), agent("w2", "failed"), agent("w3"), agent("w4", "stopped")],
        queue=[waiting()],
        runs=[run(asks=1)],
        alerts=[alert()],
    )
    assert [line.rstrip() for line in frame(shown, Pen(80), 24, 100.0)] == [
        "maestro  default  vm-1  1 alert  store up  position 1234  10:05:00Z",
        "used today 12k tokens, cost 1.50  last hour 0.12  in all 1.2M, 45.60",
        "ALERTS 1 open",
        " ✘  45s  agent w1 is unhealthy: process stopped",
        "     → maestro agent health w1",
        "AGENTS 4  1 active  1 failed  1 idle  1 stopped",
        "›1 ▶ w1 active   45s  review it  12 passed",
        " 2 ✘ w2 failed        the disk is full",
        " 3 · w3 idle     45s  ok review it",
        " 4 ■ w4 stopped       stopped",
        "QUEUE 1 run · 1 waits: 1 for an agent (45s)",
        "   w1             45s  test it                     busy with task 01J9ABCDEFGHJ…",
        "WORKFLOWS 1 open",
        "   deploy            45s    2/5  running  0.25  build; gate0 asks for 45s",
        f"     → maestro workflow approve {TASK} gate0  Ship it?",
        "NODES vm-1  up  2/4 runs  12 GiB free",
        *[""] * 7,
        "q quit  ? help  j/k move  Enter log  a/f/i/s filter",
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", ["", HOSTILE, "\u05d0\u05d1\u05d2 \u202e", "日本語" * 20])
def test_any_size_is_filled_and_never_left(size: tuple[int, int], text: str) -> None:
    width, height = size
    for shown in (crowded(text), view(), View()):
        for styled in (False, True):
            lines = frame(shown, Pen(width, styled), height, 100.0)
            assert len(lines) == height
            assert max(map(width_of, lines)) <= width
            Screen(width, height).feed("".join(f"\x1b[{at + 1};1H{line}" for at, line in enumerate(lines)))


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (132, 43)])
def test_however_crowded_each_part_has_its_place_and_says_what_is_left_out(width: int, height: int) -> None:
    text = "\n".join(frame(crowded(), Pen(width), height, 100.0))
    for heading in ("ALERTS 9 open", "AGENTS 60", "QUEUE 1 run", "WORKFLOWS 9 open", "NODES 3 up"):
        assert heading in text
    if height >= 24:
        assert "→ maestro agent health w1" in text and "more: maestro monitor alerts" in text
        assert "w0" in text and "more: maestro queue status" in text


def test_a_row_is_whole_or_counted() -> None:
    lines = frame(crowded(), Pen(80), 24, 100.0)
    alarms = [at for at, line in enumerate(lines) if "alarm" in line]
    assert alarms and all("maestro agent health" in lines[at + 1] for at in alarms[:-1])  # the last: what fits
    shown = len(alarms)
    assert any(f"and {9 - shown} more" in line for line in lines)


def test_alerts_that_want_attention_get_room_before_agents_that_do_nothing() -> None:
    rows = [agent("w1", "active"), agent("w2", "failed"), *(agent(f"i{n}", "idle") for n in range(5))]
    alerts = [alert(f"alarm {n}") for n in range(24)]
    alerts += [alert(f"quiet {n}", snoozed_until="2026-12-01T00:00:00.000Z") for n in range(3)]
    shown = view(agents=rows, alerts=alerts, alerts_open=24, alerts_snoozed=3)
    lines = frame(shown, Pen(80), 24, 100.0)
    assert "24 alerts " in lines[0] and "ALERTS 24 open, 3 snoozed" in lines
    assert sum("alarm" in line for line in lines) >= 6 and "" not in lines and "snoozed" not in "\n".join(lines[3:])
    assert any(" w1 active" in line for line in lines) and any(" w2 failed" in line for line in lines)
    small = frame(shown, Pen(60), 14, 100.0)
    assert sum("alarm" in line for line in small) == 1 and "" not in small
    assert any("26 more: maestro monitor alerts" in line for line in small) and any(
        "w1 active" in line for line in small
    )
    roomy = frame(shown, Pen(80), 90, 100.0)
    assert sum("  snoozed" in line for line in roomy) == 3 and any("i4 idle" in line for line in roomy)


@pytest.mark.parametrize("height", range(10, 40))
def test_no_line_is_blank_while_something_is_left_out(height: int) -> None:
    for queue, runs, snoozed in ((0, 0, 0), (30, 0, 2), (3, 5, 9), (0, 9, 0)):
        alerts = [alert(f"alarm {n}") for n in range(9 + snoozed)]
        shown = view(
            agents=[agent(f"w{n}", ("active", "idle")[n % 2]) for n in range(9)],
            queue=[waiting() for _ in range(queue)],
            runs=[run(asks=n % 3) for n in range(runs)],
            alerts=alerts,
            alerts_open=9,
            alerts_snoozed=snoozed,
        )
        lines = frame(shown, Pen(80), height, 100.0)
        assert "" not in lines or (not any(" more: " in line for line in lines) and any("w8" in line for line in lines))


def test_an_agent_that_works_and_is_unhealthy_is_shown_and_found_as_failed() -> None:
    shown = view(agents=[agent("w1", "active", healthy=False, reason="process 7 is stopped", counts_as="failed")])
    lines = frame(shown, Pen(80), 24, 100.0)
    assert any("✘ w1 failed" in line and "process 7 is stopped" in line for line in lines)
    pressed(shown, "f")
    assert [row["id"] for row in shown.agents()] == ["w1"]
    pressed(shown, "a")
    assert not shown.agents()


def test_the_store_away_and_a_daemon_away_are_told_with_what_was_known() -> None:
    away = {name: None for name in ("alerts", "alerts_open", "usage", "runs", "runs_open", "monitors")}
    shown = view(agents=[agent("w1", "active")], store={"up": False, "why": "the store is away: refused"}, **away)
    text = "\n".join(frame(shown, Pen(80), 24, 100.0))
    assert (
        "store away" in text and "! the store is away: refused" in text and "w1 active" in text and "alerts ?" in text
    )
    shown.problem = "no daemon runs on this node"
    assert "! no daemon runs on this node (what you see is 30s old)" in "\n".join(frame(shown, Pen(80), 24, 130.0))
    assert "has not answered for 30s" in "\n".join(frame(view(), Pen(80), 24, 130.0))


def test_times_go_on_between_looks() -> None:
    shown = view(agents=[agent("w1", "active")])
    assert " 45s  review" in frame(shown, Pen(80), 24, 100.0)[3]
    assert " 50s  review" in frame(shown, Pen(80), 24, 105.0)[3]
    assert "10:05:05Z" in frame(shown, Pen(80), 24, 105.0)[0]


def test_without_styles_or_utf_8_there_is_none_of_it() -> None:
    assert "\x1b" not in "".join(frame(crowded(), Pen(80), 24, 100.0))
    assert "\x1b" in "".join(frame(crowded(), Pen(80, True), 24, 100.0))
    plain = "".join(frame(crowded(), Pen(200, False, True), 24, 100.0))
    assert plain.isascii()


# ---- the room ----


@given(st.integers(0, 80), st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3)), max_size=5), st.integers(0, 9))
def test_parts_share_the_room(room: int, wants: list[tuple[int, int]], later: int) -> None:
    parts = [Part(str(at), lines, weight) for at, (lines, weight) in enumerate(wants)]
    if parts:
        parts.append(Part("later", later, after="0"))
    given = shared(room, parts)
    assert total(given) == min(room, sum(part.lines + (not part.after) for part in parts))
    assert all(given[part.name] <= part.lines + (not part.after) for part in parts)
    assert not given.get("later") or given["0"] == 1 + parts[0].lines


@given(st.integers(0, 50), st.integers(0, 49), st.integers(0, 49), st.integers(1, 20))
def test_the_chosen_row_is_in_the_window(count: int, chosen: int, first: int, room: int) -> None:
    chosen = min(chosen, max(0, count - 1))
    begin = window(count, chosen, first, room)
    assert 0 <= begin <= chosen < begin + room
    assert begin == 0 or begin + room <= count


# ---- keys ----


KEYS = [
    (b"j", ["j"]),
    (b"\x1b[A\x1bOB\x1b[6~", ["up", "down", "page down"]),
    (b"\t\r\x7f", ["tab", "enter", "back"]),
    (b"\x1b[1;5Aq", ["q"]),  # with a modifier: no key of ours
    (b"\x1b[200~", []),
    ("ä".encode(), []),
    (b"\x1bxj", ["j"]),  # Alt-x
    (b"\x1b", []),
]


@pytest.mark.parametrize(("data", "expected"), KEYS)
def test_bytes_are_keys_however_they_come(data: bytes, expected: list[str]) -> None:
    assert list(Keys().feed(data)) == expected
    one_by_one = Keys()
    assert [key for at in range(len(data)) for key in one_by_one.feed(data[at : at + 1])] == expected


def test_an_escape_alone_is_a_key_after_a_moment() -> None:
    keys = Keys()
    assert list(keys.feed(b"\x1b")) == [] and keys.waits
    assert list(keys.feed(b"", final=True)) == ["escape"] and not keys.waits


@given(st.binary(max_size=60))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    keys, shown = Keys(), crowded()
    for key in (*keys.feed(data), *keys.feed(b"", final=True)):
        pressed(shown, key)
        assert len(frame(shown, Pen(80), 24, 100.0)) == 24


def test_a_person_moves_filters_and_opens_logs() -> None:
    shown = crowded()
    frame(shown, Pen(80), 24, 100.0)
    assert shown.chosen == "w0"
    for key in "jjk":
        pressed(shown, key)
    assert shown.chosen == "w1"
    assert pressed(shown, "f") == "ask" and {row["state"] for row in shown.agents()} == {"failed"}
    assert "only failed" in "\n".join(frame(shown, Pen(80), 24, 100.0))
    pressed(shown, "f")
    assert len(shown.agents()) == 60
    pressed(shown, "G")
    text = "\n".join(frame(shown, Pen(80), 24, 100.0))
    assert shown.chosen == "w59" and "w59" in text
    pressed(shown, "enter")
    assert shown.log is not None and shown.log.agent == "w59"
    assert "LOG w59" in "\n".join(frame(shown, Pen(80), 24, 100.0))
    pressed(shown, "p")
    assert shown.log.agent == "w58"
    pressed(shown, "q")
    assert shown.log is None
    pressed(shown, "?")
    assert "KEYS" in "\n".join(frame(shown, Pen(80), 24, 100.0))
    pressed(shown, "j")
    assert not shown.help and pressed(shown, "q") == "quit"


def test_the_chosen_agent_stays_chosen_while_others_come_and_go() -> None:
    shown = view(agents=[agent("a"), agent("b"), agent("c")])
    pressed(shown, "j")
    shown.take(look(agents=[agent("new"), agent("b"), agent("c")]), 101.0)
    assert shown.chosen == "b" and shown.index() == 1
    shown.take(look(agents=[agent("new"), agent("c")]), 102.0)
    assert shown.chosen in ("new", "c")
    shown.take(look(at="2026-11-30T10:04:00.000Z"), 103.0)  # an older look that comes late
    assert len(shown.agents()) == 2


def test_a_log_follows_until_somebody_looks_further_up() -> None:
    log = Log("w1")
    log.take("".join(f"line {n}\n" for n in range(100)), "")
    assert log.shown(3) == ["line 97", "line 98", "line 99"]
    log.move(10, 3)
    assert log.shown(3)[-1] == "line 89"
    log.take("".join(f"line {n}\n" for n in range(5, 105)), "")
    assert log.shown(3)[-1] == "line 89"
    log.move(-(10**9), 3)
    assert log.shown(3)[-1] == "line 104"


def test_a_line_as_long_as_a_log_costs_no_more_than_what_is_shown_of_it() -> None:
    shown = view(agents=[agent("w1", "active")])
    pressed(shown, "enter")
    assert shown.log is not None
    counts = []
    for length in (1_000, 100_000):
        shown.log.take("\n".join(["日本語" * length] * 30), "")
        counts.append(calls(lambda: frame(shown, Pen(80), 24, 100.0)).total())
    assert counts[1] < 1.5 * counts[0]


# ---- few bytes ----


def on_screen(line: str) -> str:
    return Screen(80, 1).feed(f"\x1b[1;1H{line}").lines[0]


PIECES = st.lists(st.sampled_from(["1", "9", "s", " ", "é", "日", "e\u0301", "\x1b[2m", "\x1b[0m", "…"]), max_size=12)


@given(PIECES, PIECES)
@settings(max_examples=300)
def test_a_patched_line_is_the_other_line(before: list[str], after: list[str]) -> None:
    one, other = "".join(before), "".join(after)
    change = patch(one, other, 80)
    screen = Screen(80, 1).feed(f"\x1b[1;1H{one}\x1b[1;{change.column}H{change.text}")
    assert screen.lines[0] == on_screen(other)


def test_an_age_that_changes_costs_its_digits() -> None:
    pen = Pen(80, True)
    lines = [pen.line("  w1 ", Piece("▶", "blue"), Piece(f" {age}s", "bold"), "  text") for age in (45, 46)]
    assert patch(lines[0], lines[1], 80) == (9, "\x1b[1m6\x1b[0m")
    whole = "x" * 80
    assert patch("y" * 79 + "xx", whole, 80).text == whole  # nothing is cleared at the right edge


def test_a_second_of_a_crowded_screen_is_a_few_hundred_bytes() -> None:
    shown = crowded()
    before, after = (frame(shown, Pen(80, True), 24, at) for at in (100.0, 101.0))
    sent = sum(len(patch(*pair, 80).text) for pair in zip(before, after, strict=True) if pair[0] != pair[1])
    assert sent < 400


@pytest.mark.parametrize(("before", "after"), [("e\u0301x", "ex"), ("ex", "e\u0301x"), ("1e\u0301", "2e\u0301")])
def test_a_mark_that_joins_goes_with_what_it_belongs_to(before: str, after: str) -> None:
    change = patch(before, after, 80)
    assert Screen(80, 1).feed(f"\x1b[1;1H{before}\x1b[1;{change.column}H{change.text}").lines == [after]


def test_an_agent_whose_last_run_cannot_be_read_is_not_told_to_have_done_nothing() -> None:
    shown = view(agents=[agent("new", did=None, runs=0), agent("old", did=None, runs=3)])
    lines = [line for line in frame(shown, Pen(80), 24, 100.0) if " idle " in line and "nothing yet" in line]
    assert len(lines) == 1 and "new" in lines[0]
    assert any("old" in line and "its last run is not known" in line for line in frame(shown, Pen(80), 24, 100.0))


@pytest.mark.parametrize(
    ("what", "why", "shown"),
    [
        ("agent w is ill: process", "process 7 is stopped", ("agent w is ill", "process 7 is stopped")),
        ("agent w is unhealthy: disk", "4 MiB free", ("agent w is unhealthy: disk", "4 MiB free")),
        ("the store was away", "it could not be reached", ("the store was away", "it could not be reached")),
        ("task failed: x", "x", ("task failed: x", "")),
    ],
)  # fmt: skip
def test_an_alert_says_nothing_twice(what: str, why: str, shown: tuple[str, str]) -> None:
    assert told_once(what, why) == shown


def test_a_command_names_a_step_as_shells_take_it() -> None:
    assert [typed_instance(id) for id in ("ask", "ask#2", "review[3]", "review#2[13]")] == [
        *("ask", "ask#2", "review:3", "review#2:13")
    ]
    for id in ("ask", "ask#2", "review[3]", "review#2[13]"):
        assert parse_instance(typed_instance(id)) == parse_instance(id)
