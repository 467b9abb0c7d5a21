"""Where a target may run: labels of nodes, room, and the workspace; drained nodes take nothing."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid
from maestro.model.ids import with_labels
from maestro.model.scheduling.schedule import why_waiting
from maestro.model.target import check_target, is_pool, labels_of, unlabelled, who
from tests.model.facts import World, agent, node, task


def labelled(name: str, *labels: str, slots: int = 4) -> e.NodeJoined:
    return e.NodeJoined(name, "host", "i", 1, slots, "1", labels=labels)


def released(world: World) -> list[tuple[str, str | None, bool]]:
    facts = [fact for fact in world.decides() if isinstance(fact, e.RunReleased)]
    return [(fact.agent, fact.node, fact.shared) for fact in facts]


def why(world: World, name: str) -> str:
    return why_waiting(world.plan, world.plan.tasks[name], 0, world.log.at)


def test_a_label_narrows_who_stands_before_it() -> None:
    assert with_labels(["a", "role:r", "label:x", "label:y", "b", "a"]) == ["a", "role:r,label:x,label:y", "b"]
    assert with_labels(["label:x"]) == ["label:x"]
    assert (who("role:r,label:x"), labels_of("role:r,label:y,label:x")) == ("role:r", ("x", "y"))
    assert (is_pool("a,label:x"), is_pool("role:r,label:x"), labels_of("a")) == (False, True, ())
    assert check_target("role:r,label:x") == "role:r,label:x"


@pytest.mark.parametrize("wrong", ["label:x", "a,b", "a,label:", "a,label:x y", "role:r,", "a,role:r", "a,label:x,b"])
def test_what_is_no_target_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        check_target(wrong)


def test_an_agent_that_may_work_anywhere_gets_the_node_with_the_labels_that_has_most_room() -> None:
    world = World(labelled("n"), labelled("m", "x", slots=1), labelled("o", "x", "y", slots=2), agent("a", None))
    world.happens(agent("b", None), task("t", "a,label:x"))
    assert released(world) == [("a", "o", True)]
    world.happens(task("u", "b,label:y"))
    assert released(world) == [("b", "o", True)]
    told = unlabelled(["a,label:x,label:y", "a,label:z", "a"], world.plan.agents.values(), world.plan.nodes)
    assert told == {"a,label:z": "a node with the label z, which none has (labels there are: x, y)"}


def test_an_agent_that_is_bound_runs_only_where_its_node_has_the_label() -> None:
    world = World(labelled("n"), labelled("m", "x"), agent("a", "n", workspace="/w"), agent("b", "m", workspace="/w"))
    world.happens(task("t", "a,label:x"), task("u", "type:code,label:x"))
    assert [name for name, _, _ in released(world)] == ["b"]
    assert why(world, "t") == "a node with the label x, which n, where agent a is, has not"
    told = unlabelled(["a,label:x", "b,label:x", "type:code,label:x"], world.plan.agents.values(), world.plan.nodes)
    assert told == {"a,label:x": "the label x, which node n, where its workspace is, has not"}
    assert "no node has any label" in unlabelled(["a,label:x"], [], {})["a,label:x"]


def test_what_no_node_has_is_waited_for_and_runs_when_one_joins_with_it() -> None:
    world = World(labelled("n"), agent("a", None), task("t", "a,label:gpu"))
    assert released(world) == []
    assert why(world, "t") == "a node with the label gpu, which none has"
    assert [(entry.task, entry.lane.labels) for entry in world.plan.lanes.labelled()] == [("t", ("gpu",))]
    world.happens(labelled("m", "gpu"))
    assert released(world) == [("a", "m", True)]


def test_room_on_any_node_with_the_label_is_enough() -> None:
    world = World(labelled("n", "x", slots=1), labelled("m", "x", slots=1), *(agent(name, None) for name in "abc"))
    world.happens(*(task(f"t{name}", f"{name},label:x") for name in "abc"))
    assert {name for _, name, _ in released(world)} == {"n", "m"}
    assert why(world, "tc") == "a slot on a node with the label x"
    started = next(run for run, live in world.plan.crew.live.items() if live.node == "m")
    world.starts(started, "m").ends(started)
    assert released(world) == [("c", "m", True)]


def test_a_run_that_labels_have_put_on_a_node_goes_elsewhere_when_that_takes_no_more_work() -> None:
    for fact in (e.NodeLost("n"), e.NodeDrainBegun("n")):
        world = World(labelled("n", "x"), agent("a", None), task("t", "a,label:x"))
        world.decides()
        world.happens(labelled("m", "x"), fact)
        ended, *_ = [fact for fact in world.decides() if isinstance(fact, e.RunEnded)]
        assert ended.outcome == "lost" and "takes no work" in ended.evidence


def test_one_that_has_started_goes_on_where_it_is_drained_and_elsewhere_where_it_is_lost() -> None:
    world = World(labelled("n", "x"), agent("a", None), task("t", "a,label:x"))
    world.decides()
    world.starts("t-0.1").happens(labelled("m", "x"), e.NodeDrainBegun("n"))
    assert world.decides() == []
    world.happens(e.NodeLost("n"))
    assert [fact.outcome for fact in world.decides() if isinstance(fact, e.RunEnded)] == ["lost"]


def test_a_pool_prefers_the_node_with_room_and_then_the_workspace() -> None:
    world = World(
        node("n", slots=2), node("m", slots=3), agent("b", "n", workspace="/w"), agent("c", "m", workspace="/w")
    )
    world.happens(agent("a", None), task("t", "type:code"), task("u", "type:code"), task("v", "type:code"))
    assert released(world) == [("c", "m", False), ("b", "n", False), ("a", None, True)]


def test_a_drained_node_takes_nothing_and_says_how_it_would() -> None:
    world = World(node(), e.NodeDrainBegun("n"), agent("a"), task("t", "a"))
    assert world.releases() == []
    assert why(world, "t") == "node n, which is drained (maestro node drain n --undo)"
    world.happens(e.NodeDrainEnded("n"))
    assert world.releases() == [("t-0.1", "a")]
