"""One grammar of durations, for options, variables, agent types and times ago."""

from __future__ import annotations

import pytest

from maestro.model.duration import UNITS_MS, duration_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90", 90_000), ("0", 0), ("0.5", 500), ("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000),
        ("1.5h", 5_400_000), ("1h30m", 5_400_000), ("1w2d", 777_600_000), ("1m500ms", 60_500), ("5ms", 5),
    ],
)  # fmt: skip
def test_it_is_a_number_with_units_the_larger_first(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "-1",
        "-1h",
        "+5",
        "1 h",
        "1e3",
        "nan",
        "inf",
        "30m1h",
        "1h1h",
        "1h30",
        "10M",
        "1.h",
        "٣s",
        "9" * 13,
        "1:30",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert duration_ms(text) is None


def test_a_bare_number_is_of_the_unit_that_the_setting_has() -> None:
    assert duration_ms("7", "d") == 7 * UNITS_MS["d"] == duration_ms("7d", "d") == duration_ms("168h")
