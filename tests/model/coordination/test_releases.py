"""Which nodes of an older release an event would stop: by the names that each release knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maestro import __version__
from maestro.model import events as e
from maestro.model.coordination.releases import (
    AWAITED_MINUTES,
    HERE,
    KNOWN,
    awaited,
    elders,
    is_new,
    knows,
    refusal,
    release_of,
    stopped_by,
    waits_for,
)
from maestro.model.events import FACTS
from maestro.model.node import Node

GOLDEN = Path(__file__).parents[2] / "replayers" / "golden"
OLD, NEW = e.StateSet("k", "v", None), e.NodeDrainBegun("n")


def node(build: str, status: str = "up") -> Node:
    return Node("elder", 1, "host", "i", 1, 4, build, status=status)


@pytest.mark.parametrize("release", sorted(KNOWN))
def test_a_release_knows_all_that_its_golden_log_has(release: tuple[int, ...]) -> None:
    lines = (GOLDEN / f"{'.'.join(map(str, release))}.jsonl").read_text().splitlines()
    assert {json.loads(line)["type"] for line in lines} <= KNOWN[release] <= set(FACTS)


def test_every_release_before_this_one_that_has_a_golden_log_is_listed() -> None:
    assert {release_of(path.stem) for path in GOLDEN.glob("*.jsonl")} - {HERE} == set(KNOWN)


@pytest.mark.parametrize(
    ("build", "known"),
    [("1.2.0", False), ("1.2.7", False), (__version__, True), ("9.0.0", True), ("", True), ("1.3.0.dev1", True)],
)
def test_only_an_older_release_lacks_an_event(build: str, known: bool) -> None:
    assert knows(build, "node.drain_begun") is known
    assert knows(build, "state.set")


def test_a_node_that_is_up_would_stop_before_what_it_does_not_know_and_is_named() -> None:
    elder = node("1.2.0")
    assert stopped_by([OLD], [elder]) is None
    assert stopped_by([OLD, NEW], [elder]) is elder
    assert elders({"elder": elder}) == [elder]
    for other in (node("1.2.0", "left"), node("1.2.0", "lost"), node(__version__)):
        assert not elders({"elder": other})
    assert is_new(NEW) and not is_new(OLD)
    said = refusal(elder)
    assert "elder runs Maestro 1.2.0" in said.line() and said.mend is not None and "update" in said.mend


ALERT = e.AlertRaised("a1", "node_silent", "node", "elder", "critical", "")
LOST_AT = 1_000_000_000_000
SOON, LATE = LOST_AT + 11_000, LOST_AT + AWAITED_MINUTES * 60_000


def lost(build: str, **also: Any) -> Node:
    return Node("elder", 1, "host", "i", 1, 4, build, status="lost", changed_at=LOST_AT, **also)


@pytest.mark.parametrize(
    ("now", "elder", "is_awaited"),
    [
        (SOON, lost("1.2.0"), True),
        (LATE, lost("1.2.0"), False),
        (SOON, lost("1.2.0", forgotten=True), False),
        (SOON, lost(__version__), False),
        (SOON, lost("1.3.0.dev1"), False),
        (LATE, node("1.2.0"), True),
        (SOON, node("1.2.0", "left"), False),
    ],
)
def test_a_node_of_an_older_release_is_awaited_for_some_minutes(now: int, elder: Node, is_awaited: bool) -> None:
    assert awaited({"elder": elder}, now) == ([elder] if is_awaited else [])


OWN = [
    ([ALERT], "alerts:17"),
    ([e.ArchiveNamed("uuid", "file:///x")], "archive:uuid"),
    ([e.WorkspaceGuarded("a", "t", "r", "/w", "s")], "9"),
]


@pytest.mark.parametrize(("facts", "cause"), OWN)
def test_what_a_node_appends_of_its_own_accord_waits_for_one_that_was_just_lost(facts: list[Any], cause: str) -> None:
    nodes = {"elder": lost("1.2.0")}
    assert waits_for(facts, cause, nodes, SOON) is nodes["elder"]
    assert waits_for(facts, cause, nodes, LATE) is None
    assert waits_for(facts, cause, {"elder": node("1.2.0")}, LATE) is not None
    said = refusal(nodes["elder"])
    assert "was lost just now" in said.line() and said.mend is not None and f"{AWAITED_MINUTES} minutes" in said.mend


def test_what_a_user_asks_for_waits_for_nodes_that_are_up_and_what_follows_from_the_log_for_none() -> None:
    away, up = {"elder": lost("1.2.0")}, {"elder": node("1.2.0")}
    assert waits_for([NEW], "cmd:1", away, SOON) is None
    assert waits_for([NEW], "cmd:1", up, SOON) is up["elder"]
    assert waits_for([OLD], "cmd:1", up, SOON) is None
    assert waits_for([NEW], "17", up, SOON) is None
