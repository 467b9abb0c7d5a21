"""What becomes of nodes: drained, lost, forgotten, back; and the agents that were bound to them."""

from __future__ import annotations

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.assignment import check_left_behind
from maestro.model.coordination.newest_archive import newest_of
from maestro.model.errors import NotFound, Refused
from maestro.model.events import Event, SnapshotWorkspace
from maestro.model.node import Node, decide_drain, decide_forget, evolve
from maestro.model.snapshot import Snapshot
from tests.model.facts import node as joined


def after(*facts: e.AnyFact) -> Node:
    row: Node | None = None
    for seq, fact in enumerate(facts, 1):
        row = evolve(row, Event(seq, "node:n", seq, "", "", 0, fact))
    assert row is not None
    return row


def bound(name: str, node: str | None = "n", workspace: str | None = "/w") -> Agent:
    return Agent(name, 1, "t", {}, "/root", workspace=workspace, node=node)


DRAIN, UNDO, FORGET = e.NodeDrainBegun("n"), e.NodeDrainEnded("n"), e.NodeForgotten("n")
LOST, LEFT = e.NodeLost("n"), e.NodeLeft("n")


@pytest.mark.parametrize(
    ("facts", "state", "takes_work"),
    [
        ((), "up", True),
        ((DRAIN,), "draining", False),
        ((DRAIN, UNDO), "up", True),
        ((DRAIN, LEFT), "left", False),
        ((DRAIN, LEFT, joined()), "draining", False),
        ((DRAIN, LEFT, joined(), UNDO), "up", True),
        ((e.NodeHeld("n"), DRAIN, UNDO), "held", False),
        ((LOST, FORGET), "forgotten", False),
        ((LOST, FORGET, joined()), "up", True),
    ],
)
def test_what_a_node_is(facts: tuple[e.AnyFact, ...], state: str, takes_work: bool) -> None:
    row = after(joined(), *facts)
    assert (row.state, row.takes_work) == (state, takes_work)


def test_a_drain_is_decided_once_at_the_version_of_its_node_and_undone_once() -> None:
    up, drained = after(joined()), after(joined(), DRAIN)
    (event,) = decide_drain("n", up, undo=False)
    assert (type(event.fact), event.expected) == (e.NodeDrainBegun, 1)
    assert decide_drain("n", drained, undo=False) == decide_drain("n", up, undo=True) == []
    (event,) = decide_drain("n", drained, undo=True, floor=9)
    assert (type(event.fact), event.expected) == (e.NodeDrainEnded, 9)
    with pytest.raises(NotFound):
        decide_drain("m", None, undo=False)
    with pytest.raises(Refused):
        decide_drain("n", after(joined(), LOST, FORGET), undo=False)


def test_only_a_node_that_is_away_is_forgotten_and_only_with_nobody_bound_to_it() -> None:
    lost = after(joined(), LOST)
    with pytest.raises(Refused, match="is up"):
        decide_forget("n", after(joined()), [])
    with pytest.raises(Refused, match="a, b"):
        decide_forget("n", lost, [bound("b"), bound("a"), bound("c", "m"), bound("d", None)])
    assert [type(event.fact) for event in decide_forget("n", lost, [bound("c", "m")])] == [e.NodeForgotten]
    assert decide_forget("n", after(joined(), LOST, FORGET), [bound("a")]) == []


def test_an_agent_goes_on_elsewhere_only_where_its_node_is_away() -> None:
    up, lost, left = after(joined()), after(joined(), LOST), after(joined(), LEFT)
    for row, answers in ((lost, True), (left, False)):
        check_left_behind(bound("a"), {"n": row}, "here", answers)
    with pytest.raises(Refused, match="which is up"):
        check_left_behind(bound("a"), {"n": up}, "here", answers=True)
    with pytest.raises(Refused, match="taken for lost"):
        check_left_behind(bound("a"), {"n": up}, "here", answers=False)
    with pytest.raises(Refused, match="this node"):
        check_left_behind(bound("a"), {"n": lost}, "n", answers=False)
    with pytest.raises(Refused, match="no workspace"):
        check_left_behind(bound("a", workspace=None), {"n": lost}, "here", answers=False)


def snapshot(name: str, position: int, *held: SnapshotWorkspace, reason: str = "reset", **named: str) -> Snapshot:
    row = Snapshot(name, position, position, position, True, reason, "n", workspaces=held)
    return msgspec.structs.replace(row, **{"state": "complete", **named})


def test_the_newest_archive_is_that_of_the_same_workspace_on_the_same_node_and_line() -> None:
    def held(position: int, workspace: str = "/w", node: str = "") -> SnapshotWorkspace:
        return SnapshotWorkspace("a", workspace, "t", position, node=node)

    rows = [
        snapshot("old", 1, held(1)),
        snapshot("right", 2, held(2)),
        snapshot("part", 3, held(3, node="m")),
        snapshot("other", 4, held(4, "/x")),
        snapshot("failed", 5, held(5), state="failed"),
        snapshot("file", 6, held(6), path="/f.tar.gz"),
        snapshot("undone", 7, held(7)),
        snapshot("bad", 8, held(8), reason="failsafe, what run R left"),
    ]

    def found(agent: Agent) -> str:
        newest = newest_of(rows, agent, lambda position: position != 7)
        return newest[0][0].id if newest else ""

    assert found(bound("a")) == "right"
    assert [row.id for row, _ in newest_of(rows, bound("a"), lambda _: True)] == ["undone", "right", "old"]
    assert found(bound("a", "m")) == "part"
    assert found(bound("b")) == found(bound("a", workspace="/y")) == ""
