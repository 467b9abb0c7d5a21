"""Which nodes of an older release an event would stop: by the names that each release knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maestro import __version__
from maestro.model import events as e
from maestro.model.coordination.releases import HERE, KNOWN, elders, is_new, knows, refusal, release_of, stopped_by
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
    assert stopped_by([OLD], {"elder": elder}) is None
    assert stopped_by([OLD, NEW], {"elder": elder}) is elder
    for other in (node("1.2.0", "left"), node("1.2.0", "lost"), node(__version__)):
        assert stopped_by([NEW], {"elder": other}) is None
        assert not elders({"elder": other})
    assert is_new(NEW) and not is_new(OLD)
    said = refusal(elder)
    assert "elder runs Maestro 1.2.0" in said.line() and said.mend is not None and "update" in said.mend
