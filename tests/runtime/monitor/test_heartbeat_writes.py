"""Which heartbeats are written, and which agents are checked, while nothing happens."""

from __future__ import annotations

import msgspec

from maestro.model.monitoring.sights import SeenDisk, Sight
from maestro.runtime.monitor.heartbeat import EVERY_S, UNCHANGED_S, Well, Written

BEATS = {"a": {"run": ""}, "b": {"run": "r1", "memory_bytes": "1"}}


def test_a_heartbeat_is_written_when_it_says_something_new_and_before_it_is_old() -> None:
    written = Written()

    def beat(values: dict[str, dict[str, str]], now: float) -> set[str]:
        due = written.due(values, now)
        written.note(values, due, now)
        return set(due)

    assert beat(BEATS, 0.0) == {"a", "b"}
    assert beat(BEATS, EVERY_S) == set()
    assert beat(BEATS | {"b": {"run": ""}}, 2 * EVERY_S) == {"b"}
    assert beat(BEATS | {"b": {"run": ""}}, 3 * EVERY_S + 0.01) == {"a"}, "each third one, for all that it may be late"
    assert beat({"b": {"run": ""}}, 2 * EVERY_S + UNCHANGED_S) == {"b"}
    assert beat(BEATS, 2 * EVERY_S + UNCHANGED_S + 0.1) == {"a", "b"}, "what had gone is written anew"


def test_a_value_that_is_changed_in_place_is_written() -> None:
    written, value = Written(), {"disk_low": ""}
    written.note({"n": value}, {"n": value}, 0.0)
    value["disk_low"] = "it is full"
    assert written.due({"n": value}, 1.0) == {"n": value}


def test_an_agent_needs_no_checks_while_nothing_has_changed_since_all_of_them_held() -> None:
    well, seen = Well(), Sight(program="", disk=SeenDisk("/", 1 << 40, 1 << 41, 1 << 20))
    assert not well.still("a", seen, 7)
    well.note("a", seen, 7)
    less = msgspec.structs.replace(seen, disk=SeenDisk("/", 1 << 39, 1 << 41, 1 << 20))
    assert well.still("a", seen, 7) and well.still("a", less, 7), "there is room by any limit"
    assert not well.still("a", seen, 8), "something was appended"
    assert not well.still("b", seen, 7)
    for other in (
        msgspec.structs.replace(seen, program="it is gone"),
        msgspec.structs.replace(seen, disk=SeenDisk("/", 80 << 20, 1 << 41)),
        msgspec.structs.replace(seen, disk=SeenDisk("/", 1 << 40, 1 << 41, 1500)),
        msgspec.structs.replace(seen, disk=SeenDisk("/", problem="it does not answer")),
    ):
        assert not well.still("a", other, 7)
        well.note("c", other, 7)
    assert not well.still("c", msgspec.structs.replace(seen, disk=SeenDisk("/", 80 << 20, 1 << 41)), 7)
    well.keep(["b"])
    assert not well.still("a", seen, 7)
    well.note("a", seen, 7)
    well.note("a", None, 7)
    assert not well.still("a", seen, 7), "a check failed since"
