"""What a webhook is told of an alert: from the log alone, below 20 kB, as JSON whatever is in the texts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from maestro.model import events as e
from maestro.model.events import AnyFact, NewEvent
from maestro.model.monitoring.alert import Alert, Delivery
from maestro.runtime.monitor.payload import BODY_BYTES_MAX, body
from maestro.store.contract import Append, Committed
from maestro.store.memory.memory_store import MemoryStore

ALERT = "disk:north"


def raised(**more: Any) -> e.AlertRaised:
    return e.AlertRaised(ALERT, "disk", "north", "critical", "the disk is full", **more)


def told(*facts: AnyFact, of: str = "raised", alert: Alert | None = None, seq: int | None = None) -> dict[str, Any]:
    """The payload of a delivery that tells of the last of these facts."""
    store = MemoryStore("payload")
    last = 0
    for fact in facts:
        (result,) = store.log.commit([Append((NewEvent(f"alert:{ALERT}", fact),), "daemon:n", "cmd:1")], None)
        assert isinstance(result, Committed)
        last = result.last
    delivery = Delivery("d", 9, "aa", ALERT, of, last if seq is None else seq, queued_at=1_000)
    data = body(store.log, delivery, alert, "default")
    assert len(data) < 20_000
    found: dict[str, Any] = msgspec.json.decode(data)
    assert list(found) == ["type", "timestamp", "data"] and found["data"]["id"] == ALERT
    return found


def test_a_resolution_tells_what_was_raised_last_though_it_was_snoozed_between() -> None:
    snoozes = [e.AlertSnoozed(ALERT, number) for number in range(10)]
    found = told(raised(why="old"), raised(why="new", since=5), *snoozes, e.AlertResolved(ALERT, "gone"), of="resolved")
    assert found["type"] == "alert.resolved"
    data = found["data"]
    assert (data["why"], data["since"], data["how"], data["state"]) == (
        "new",
        "1970-01-01T00:00:00.005Z",
        "gone",
        "resolved",
    )


def test_a_snooze_tells_until_when() -> None:
    data = told(raised(), e.AlertSnoozed(ALERT, 7_200_000, "lunch"), of="snoozed")["data"]
    assert (data["until"], data["reason"]) == ("1970-01-01T02:00:00.000Z", "lunch")


def test_the_end_of_a_snooze_is_called_so() -> None:
    found = told(raised(), e.AlertSnoozed(ALERT, 7_200_000), e.AlertSnoozed(ALERT, 0, "its time is over"), of="snoozed")
    assert (found["type"], found["data"]["state"]) == ("alert.snooze_ended", "snooze_ended")


@pytest.mark.parametrize("seq", [0, 99])
def test_where_its_event_is_not_found_the_alert_as_it_is_now_stands_in(seq: int) -> None:
    alert = Alert(ALERT, 1, "disk", "north", "critical", "as it is now")
    assert told(raised(), alert=alert, seq=seq)["data"]["what"] == "as it is now"
    found = told(raised(), seq=seq)
    assert (found["data"]["what"], found["timestamp"]) == ("", "1970-01-01T00:00:01.000Z")


def test_of_too_much_text_the_longest_is_cut_and_that_is_said() -> None:
    data = told(raised(why="\x00" * 50_000, command="maestro doctor"))["data"]
    assert data["cut"] is True and data["why"].endswith(" … (cut)")
    assert (data["what"], data["command"]) == ("the disk is full", "maestro doctor")
    assert "cut" not in told(raised(why="x" * 19_000))["data"]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(st.characters(), max_size=30), st.integers(0, 4000)), min_size=4, max_size=4))
def test_any_text_makes_json_that_is_short_enough(parts: list[tuple[str, int]]) -> None:
    what, why, command, node = (text * times for text, times in parts)
    fact = e.AlertRaised(ALERT, "disk", "north", "critical", what, why=why, command=command, node=node)
    store = MemoryStore("payload")
    clean = all(
        text.isascii() or text.encode("utf-8", "ignore").decode() == text for text in (what, why, command, node)
    )
    if clean:
        store.log.commit([Append((NewEvent(f"alert:{ALERT}", fact),), "daemon:n", "cmd:1")], None)
    row = Alert(ALERT, 1, "disk", "north", "critical", what, why, 0, command, node)
    data = body(store.log, Delivery("d", 2, "aa", ALERT, "raised", 1 if clean else 0), row, "default")
    assert len(data) <= BODY_BYTES_MAX and msgspec.json.decode(data)["data"]["name"] == "disk"
