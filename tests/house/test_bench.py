"""The benchmarks: each with its reference, in one table, held against its bar."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.bench.__main__ import BENCHES
from tools.bench.measure import Case, measure, table
from tools.place import Place


def case(ours: float, bar: float | None, more: bool = False, beyond: bool = False) -> Case:
    return Case("it", "none", "ms", more, bar, lambda: ours, "other", lambda: 4.0, rounds=3, beyond=beyond)


@pytest.mark.parametrize(
    ("given", "passed", "compared", "bar"),
    [
        (case(6, 1.5), True, "1.50 x", "≤ 1.5 x"),
        (case(7, 1.5), False, "1.75 x", "≤ 1.5 x"),
        (case(3, 0.5, more=True), True, "0.75 x", "≥ 0.5 x"),
        (case(7, 3, beyond=True), True, "+3.00 ms", "≤ +3 ms"),
        (case(8, 3, beyond=True), False, "+4.00 ms", "≤ +3 ms"),
        (case(8, None), None, "2.00 x", ""),
    ],
)
def test_a_case_is_held_against_its_bar(given: Case, passed: bool | None, compared: str, bar: str) -> None:
    row = measure(given)
    assert (row.passed, row.compared, given.bar_text) == (passed, compared, bar)
    assert f"| {compared} | {bar} |" in table([row])


def test_the_launch_of_a_run_is_measured_with_all_others_and_may_cost_three_milliseconds() -> None:
    cases, modes = BENCHES["launch"]
    with Place("bench") as place:
        found = [one for mode in modes for one in cases(place, mode)]
    assert [(one.bar, one.beyond, one.reference_name) for one in found if one.bar is not None] == [
        (3.0, True, "posix_spawn and wait")
    ]
    assert "[launch]" in Path("tools/bench/run").read_text()
