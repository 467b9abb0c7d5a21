"""Settings of the namespace: which there are, what they can be, and what is read of one that is not known."""

from __future__ import annotations

import pytest

from maestro.model.errors import Invalid
from maestro.model.events import NewEvent, SettingChanged
from maestro.model.settings.namespace_setting import KEEP, Setting, decide_change, number


def test_a_change_is_one_event_at_the_version_and_the_same_value_is_none() -> None:
    assert decide_change(KEEP, "20_000", None) == [NewEvent(f"setting:{KEEP}", SettingChanged(KEEP, "20000"), 0)]
    row = Setting(KEEP, "20000", 7)
    assert decide_change(KEEP, "20000", row) == []
    assert decide_change(KEEP, "", row, 9) == [NewEvent(f"setting:{KEEP}", SettingChanged(KEEP, ""), 9)]
    assert decide_change(KEEP, "", None) == []


@pytest.mark.parametrize("value", ["99", "10000001", "-1", "1e5", "many", " 500", "٥٠٠", "9" * 5000, "_"])
def test_what_it_cannot_be_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(Invalid, match="give a number from 100 to 10000000") as refused:
        decide_change(KEEP, value, None)
    assert "\n" not in refused.value.line()


def test_an_unknown_setting_is_refused_with_what_there_is() -> None:
    with pytest.raises(Invalid, match=r"there is views\.keep"):
        decide_change("views.kep", "100", None)


@pytest.mark.parametrize(
    ("value", "found"),
    [("", 50_000), ("700", 700), ("0", 100), ("9" * 8, 10_000_000), ("9" * 400, 50_000), ("x", 50_000)],
)
def test_a_fold_reads_any_value(value: str, found: int) -> None:
    assert number(KEEP, Setting(KEEP, value, 1)) == found
    assert number(KEEP, None) == 50_000
