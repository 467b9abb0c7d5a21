"""State keys: what may be one, how long one lives."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid, NotFound
from maestro.model.events import Event, NewEvent
from maestro.model.state import StateKey, decide_delete, decide_set, evolve, parse_ttl


@pytest.mark.parametrize(
    ("text", "ttl_ms"),
    [("24h", 86_400_000), ("30m", 1_800_000), ("90", 90_000), ("1h30m", 5_400_000), ("1w", 604_800_000), ("5ms", 5)],
)
def test_a_time_to_live_is_a_duration(text: str, ttl_ms: int) -> None:
    assert parse_ttl(text) == ttl_ms


def test_zero_keeps_a_key_for_ever() -> None:
    assert parse_ttl("0") is None


@pytest.mark.parametrize("text", ["", "h", "-1h", "24 h", "30m1h", "0s", "999999d", "9" * 30 + "s", "٣s"])
def test_anything_else_is_no_time_to_live(text: str) -> None:
    with pytest.raises(Invalid, match="is no time to live"):
        parse_ttl(text)


@pytest.mark.parametrize("key", ["", "a\nb", "a\0b", "a\x1b[31m", "x" * 513, "ä" * 257])
def test_a_key_is_one_printable_line_of_at_most_512_bytes(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        decide_set(key, "value")
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("key", ["port", "task:1:result", "a b", "ключ", "x" * 512])
def test_a_key_is_set_whatever_it_was_before(key: str) -> None:
    assert decide_set(key, "value", "0") == [NewEvent(f"state:{key}", e.StateSet(key, "value", None))]


def row(ttl_ms: int | None) -> StateKey:
    fact = e.StateSet("port", "80", ttl_ms)
    found = evolve(None, Event(5, "state:port", 1000, "me", "", 0, fact))
    assert found is not None
    return found


def test_a_key_expires_at_its_time_by_the_clock_of_the_log() -> None:
    assert not row(500).expired(1499)
    assert row(500).expired(1500)
    assert not row(None).expired(10**15)


def test_a_key_is_deleted_at_its_version_if_it_is_there() -> None:
    assert decide_delete("port", row(500), 1200) == [NewEvent("state:port", e.StateDeleted("port"), 5)]
    with pytest.raises(NotFound):
        decide_delete("port", row(500), 1500)
    with pytest.raises(NotFound):
        decide_delete("port", None, 0)
    assert evolve(row(500), Event(6, "state:port", 1200, "me", "", 5, e.StateDeleted("port"))) is None
