"""Where the tasks of workflows' steps are released: the folder of a run, another agent's workspace, what is held."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.scheduling.schedule import decide, why_waiting
from tests.model.facts import World, agent, node, step, task

HOLD = e.WorkspaceArchiveWanted("w", "fix", "n", "/w/a", "a")


def why(world: World, name: str) -> str:
    return why_waiting(world.plan, world.plan.tasks[name], 0, world.log.at)


def released(world: World) -> list[e.RunReleased]:
    return [fact for fact in world.decides() if isinstance(fact, e.RunReleased)]


def test_commands_of_a_run_work_in_its_folder_together_as_far_as_there_are_slots() -> None:
    world = World(node(slots=2), node("m"), step("x"), step("y"), step("z"))
    found = released(world)
    assert [(fact.run, fact.agent, fact.node, fact.shared) for fact in found] == [
        ("x-0.1", ".run", "n", False),
        ("y-0.1", ".run", "n", False),
    ]
    assert why(world, "z") == "a slot on node n"
    world.runs("x-0.1")
    assert world.releases() == [("z-0.1", ".run")]


def test_an_agent_on_no_node_works_in_the_folder_and_so_on_its_node() -> None:
    world = World(node("m"), node("n"), agent("free", None), step("x", "free"), step("y", "free"))
    (fact,) = released(world)
    assert (fact.node, fact.shared, fact.reason) == ("n", False, "its agent is free, in the run's folder")
    assert why(world, "y") == "agent free is busy with task x"
    assert world.plan.released_unstarted() == [("n", "x-0.1", world.plan.seq)]


def test_one_that_is_alone_has_the_folder_for_itself() -> None:
    world = World(node(), step("x"), step("y", alone=True), step("z"))
    assert [run for run, _ in world.releases()] == ["x-0.1", "z-0.1"]
    assert why(world, "y") == "the folder of its run is in use by task x of agent run"
    world.runs("x-0.1")
    assert world.releases() == []
    world.runs("z-0.1")
    world.happens(step("late"), step("other", folder="/wf/v", workflow="v"))
    assert sorted(run for run, _ in world.releases()) == ["other-0.1", "y-0.1"]
    assert why(world, "late").startswith("the folder of its run is in use by task y")
    world.runs("y-0.1")
    assert [run for run, _ in world.releases()] == ["late-0.1"]


def test_a_command_in_an_agents_workspace_goes_there_and_keeps_the_agent_out_and_is_kept_out() -> None:
    world = World(node("m"), node("n"), agent("a", "m"), step("x", place="a"), task("t", "a"))
    (fact,) = released(world)
    assert (fact.run, fact.node, fact.reason) == ("x-0.1", "m", "its place is free, in the workspace of a")
    assert why(world, "t") == "workspace /w/a is in use by task x of agent run"
    world.starts("x-0.1", "m").happens(step("y", place="a"))
    assert world.releases() == []
    world.ends("x-0.1")
    assert world.releases() == [("t-0.1", "a")]
    assert why(world, "y") == "workspace /w/a is in use by agent a"
    world.starts("t-0.1", "m").ends("t-0.1")
    assert world.releases() == [("y-0.1", ".run")]


def test_one_agent_works_in_the_workspace_of_another_on_that_ones_node() -> None:
    world = World(node("m"), node("n"), agent("a", "m"), agent("b", "n"), step("x", "b", place="a"))
    (fact,) = released(world)
    assert (fact.agent, fact.node) == ("b", "m")
    world.starts("x-0.1", "m")
    assert world.plan.crew.writers == {("m", "/w/a"): {"x-0.1"}}


def test_whose_workspace_it_is_must_be_there_and_take_work() -> None:
    world = World(node(), step("x", place="a"))
    assert world.releases() == []
    assert why(world, "x") == "agent a, whose workspace it needs, to be assigned"
    world.happens(agent("a"), e.AgentStopped("a", "by hand"))
    assert world.releases() == []
    assert why(world, "x") == "agent a is stopped, whose workspace it needs"
    world.happens(e.AgentRestarted("a"))
    assert world.releases() == [("x-0.1", ".run")]
    world.happens(e.AgentStopped("a", "by hand"))
    (ended,) = [fact for fact in world.decides() if isinstance(fact, e.RunEnded)]
    assert (ended.outcome, ended.evidence) == ("lost", "withdrawn: agent a was stopped before it started")


def test_a_held_workspace_is_for_the_instance_that_holds_it() -> None:
    world = World(node(), agent("a"), HOLD, task("t", "a"), step("other", "a"), step("fix", "a", place=""))
    assert world.releases() == [("fix-0.1", "a")]
    world.runs("fix-0.1")
    assert world.releases() == []
    assert why(world, "t") == "workspace /w/a is held by step fix of workflow run w"
    world.happens(e.StepEnded("w", "fix", "failed", next="retry"))
    assert world.releases() == []
    world.happens(e.StepEnded("w", "fix", "completed"))
    assert world.releases() == [("t-0.1", "a")]


def test_what_was_released_to_a_workspace_that_is_held_meanwhile_is_withdrawn_unless_it_has_started() -> None:
    world = World(node(), agent("a"), task("t", "a"))
    world.decides()
    world.happens(HOLD)
    assert [fact.evidence for fact in world.decides() if isinstance(fact, e.RunEnded)] == [
        "withdrawn: its workspace is held by a step of a workflow"
    ]
    assert world.releases() == []
    world.happens(e.WorkflowRunFinished("w", "cancelled"))
    (run, _) = world.releases()[0]
    world.starts(run).happens(HOLD)
    assert world.decides() == []


def test_the_folder_of_a_run_is_held_as_well() -> None:
    hold = e.WorkspaceArchiveWanted("w", "fix", "n", "/wf/w/workspace")
    world = World(node(), hold, step("x"), step("fix", alone=True))
    assert world.releases() == [("fix-0.1", ".run")]
    assert why(world, "x") == "the folder of its run is held by step fix of workflow run w"


def test_of_two_that_hold_a_workspace_the_first_has_it() -> None:
    world = World(node(), agent("a"), HOLD, e.WorkspaceArchiveWanted("v", "mend", "n", "/w/a", "a"))
    world.happens(step("mend", "a", workflow="v"), step("fix", "a"))
    assert world.releases() == [("fix-0.1", "a")]
    world.runs("fix-0.1").happens(e.WorkflowRunFinished("w", "failed"))
    assert world.releases() == [("mend-0.1", "a")]


def test_a_run_in_the_folder_of_a_lost_node_ends_and_waits_for_it() -> None:
    world = World(node(), node("m"), step("x"))
    world.decides()
    world.starts("x-0.1").happens(e.NodeLost("n", "lease"))
    (ended,) = [fact for fact in world.decides() if isinstance(fact, e.RunEnded)]
    assert ended.evidence == "node n was lost, and the folder of the workflow's run with it"
    assert world.releases() == []
    assert why(world, "x") == "node n is lost"
    world.happens(node())
    assert world.releases() == [("x-0.2", ".run")]


@pytest.mark.parametrize("count", [2_000])
def test_two_thousand_commands_in_one_folder_cost_a_few_looks_each(count: int) -> None:
    world = World(node(slots=4), *(step(f"s{n}") for n in range(count)))
    looks = 0
    first = world.plan.is_true

    def counted(entry: object) -> bool:
        nonlocal looks
        looks += 1
        return first(entry)  # type: ignore[arg-type]

    world.plan.lanes._is_true = counted
    world.decides()
    while world.plan.crew.live:
        world.runs(next(iter(world.plan.crew.live)))
        world.decides()
    assert not world.plan.tasks and looks < 20 * count
    assert decide(world.plan, world.log.at) == []
    assert not world.plan.steps
