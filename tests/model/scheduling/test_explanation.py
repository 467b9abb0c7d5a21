"""Why a task or a run does not go on: each reason is reached, says since when, and what would let it go on does so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import maestro
from maestro.model import events as e
from maestro.model.facts.permission import PermissionOption, TaskPermissionAnswered, TaskPermissionAsked
from maestro.model.facts.workflow import WorkflowRunPaused, WorkflowRunStarted
from maestro.model.monitoring.failsafe import HELD
from maestro.model.restore import stop_reason
from maestro.model.scheduling.explanation import Explained, chain, ended, explained
from maestro.model.scheduling.schedule import why_waiting
from maestro.model.scheduling.waiting import Around, Reasons
from maestro.model.scheduling.ways import REASONS, WAYS, way_on
from maestro.model.task import Task
from maestro.model.workflow.explanation import Held, held_steps
from maestro.model.workflow.run import Run
from maestro.model.workflow.status import Surroundings
from tests.model.facts import World, agent, node, step, task
from tests.model.workflow.scripted import BAD, Scripted
from tests.model.workflow.test_run import flow, step as step_keys

GUARD = e.WorkspaceGuarded("a", "r", "t0", "/w/a", "s", "n")
LABELLED = e.NodeJoined("m", "m", "m.1", 1, 4, "test", labels=("gpu",))


class Case(NamedTuple):
    """given: what has happened; cure: what would let task `t` go on; around: what the plan does not know."""

    given: tuple[e.AnyFact, ...]
    cure: tuple[e.AnyFact, ...]
    around: Around = Around()
    way: str = ""


def unhealthy(*failed: str) -> e.AgentHealthChanged:
    return e.AgentHealthChanged("a", False, failed, "seen")


WELL = e.AgentHealthChanged("a", True, (), "")
HERE = (node(), agent("a"), task("t"))
RUNNING = (node(), agent("a"), task("t0"), e.RunReleased("t0-0.1", "t0", 0, 1, "a", "n", 60.0, 1))
TAKEN = e.RunStarted("t0-0.1", "t0", "a", "n", "/f", "/w/a")
ENDED = e.RunEnded("t0-0.1", "t0", "a", "ok", 0)
OF_T = e.RunReleased("t-0.1", "t", 0, 1, "a", "n", 60.0, 1)
BEGUN = e.RunStarted("t-0.1", "t", "a", "n", "/f", "/w/a")
HELD_STILL = (e.SnapshotAsked("s", "asked", "n", (e.PartWanted("n", ("a",)),)), e.SnapshotOpened("s", 9_000))
IN_RUN = e.WorkflowRunStarted("w", "wf", 1, "")
HOLD = e.WorkspaceArchiveWanted("w", "fix", "n", "/w/a", "a")
LET_GO = e.StepEnded("w", "fix", 1, "completed", "ok")
RESUMED = e.WorkflowRunResumed("w")
STOPPED = e.AgentStopped("a", stop_reason("r-1"))
RESTARTED = e.AgentRestarted("a")

CASES: dict[str, Case] = {
    "ready": Case(HERE, (OF_T,)),
    "start": Case((*HERE, OF_T), (BEGUN,)),
    "dependency": Case(
        (*RUNNING, TAKEN, task("t", after=["t0"])), (ENDED, e.TaskFinished("t0", "completed", "ok", 0)), way="t0"
    ),
    "retry": Case(
        (*HERE[:2], task("t", retries=1), OF_T, BEGUN, e.RunEnded("t-0.1", "t", "a", "exit", 1, retry_at=9_000_000)),
        (),
    ),
    "pause": Case((node(), IN_RUN, e.WorkflowRunPaused("w"), step("t")), (RESUMED,), way="resume w"),
    "budget": Case((node(), IN_RUN, e.WorkflowRunPaused("w", "budget"), step("t")), (RESUMED,), way="--add-budget"),
    "agent_missing": Case((node(), task("t")), (agent("a"),), way="--name a"),
    "pool_empty": Case((node(), task("t", "role:x")), (agent("a", role="x"),), way="role:x"),
    "agent_busy": Case((*RUNNING, TAKEN, task("t")), (ENDED,), way="maestro task explain t0"),
    "agent_stopped": Case((*HERE, e.AgentStopped("a", "by hand")), (RESTARTED,), way="maestro agent restart a"),
    "agent_unhealthy": Case((*HERE, unhealthy("binary")), (WELL,), way="maestro agent health a"),
    "agent_held": Case((*HERE, e.AgentStopped("a", f"{HELD}kept")), (RESTARTED,), way="maestro agent health a"),
    "agent_guarded": Case((*HERE, GUARD), (e.GuardDropped("a", "r"),)),
    "restore": Case((*HERE, STOPPED), (RESTARTED,)),
    "pending": Case(
        (*HERE, STOPPED),
        (RESTARTED,),
        Around(pending={"a": f"restore r-1 is pending; {WAYS['pending']}"}),
        "maestro up",
    ),
    "disk": Case((*HERE, unhealthy("disk")), (WELL,), way="maestro doctor"),
    "store": Case((*HERE, unhealthy("store")), (WELL,), way="maestro doctor"),
    "workspace_shared": Case(
        (*RUNNING, TAKEN, agent("b", workspace="/w/a"), task("t", "b")), (ENDED,), way="maestro task explain t0"
    ),
    "workspace_held": Case((*HERE, IN_RUN, HOLD), (LET_GO,), way="maestro task explain w"),
    "node_unknown": Case(HERE[1:], (node(),), way="maestro up"),
    "node_held": Case((*HERE, e.NodeHeld("n", "shutdown")), (e.NodeResumed("n", "up"),), way="maestro up"),
    "node_still": Case((*HERE, *HELD_STILL), (e.SnapshotFailed("s", "late"),)),
    "node_drained": Case((*HERE, e.NodeDrainBegun("n", "x")), (e.NodeDrainEnded("n"),), way="node drain n --undo"),
    "node_lost": Case((*HERE, e.NodeLost("n")), (node(),), way="agent assign a --from-snapshot newest"),
    "node_down": Case((*HERE, e.NodeLeft("n", "shutdown")), (node(),), way="maestro up"),
    "node_full": Case(
        (node(slots=1), *RUNNING[1:], TAKEN, agent("b"), task("t", "b")), (ENDED,), way="MAESTRO_MAX_CONCURRENT"
    ),
    "label": Case((node(), agent("a", None), task("t", "a,label:gpu")), (LABELLED,), way="MAESTRO_NODE_LABELS=gpu"),
    "no_node": Case((agent("a", None), task("t")), (node(),), way="maestro up"),
    "node_silent": Case((*HERE, OF_T, BEGUN), (e.NodeLost("n"),), Around(silent=("n",))),
    "permission": Case(
        (*HERE, OF_T, BEGUN, TaskPermissionAsked("t", "t-0.1", 4, "rm", (PermissionOption("y", "allow_once"),))),
        (TaskPermissionAnswered("t", "t-0.1", 4, "allow", "y"),),
        way="maestro task answer t allow",
    ),
    "cancelling": Case(
        (*HERE, OF_T, BEGUN, e.TaskCancelRequested("t", "no")),
        (e.RunEnded("t-0.1", "t", "a", "cancelled"),),
    ),
}


def told(world: World, around: Around = Around(), name: str = "t") -> list[Explained]:  # noqa: B008
    return explained(Reasons(world.plan, around), world.plan.tasks[name], world.log.at)


@pytest.mark.parametrize("reason", CASES)
def test_a_reason_is_reached_says_since_when_and_is_gone_with_what_lets_it_go_on(reason: str) -> None:
    case = CASES[reason]
    world = World(*case.given)
    (one,) = told(world, case.around)
    assert one.reason == reason and one.waits
    assert case.way in one.way and one.way == one.way.strip() and "{" not in one.way
    assert 0 < one.since <= world.log.at
    if reason not in ("cancelling", "permission", "pending", "node_silent"):
        assert one.text == why_waiting(world.plan, world.plan.tasks["t"], 0, world.log.at), "as queue status has it"
    if reason != "node_still":  # snapshots are in no view of this log
        loaded = world.log.plan()
        again = explained(Reasons(loaded, case.around), loaded.tasks["t"], world.log.at)
        assert [each.reason for each in again] == [reason], "as a command without a daemon has it"
    world.happens(*case.cure)
    if not case.cure:
        world.log.at = 9_000_001
    assert [each.reason for each in told(world) if each.waits] != [reason]


def test_a_pause_and_a_full_disk_are_told_since_they_are_so_where_that_is_known() -> None:
    """Not since the wait began, which was before; and where it began later, since then."""
    for given, around in (
        (CASES["pause"].given, Around(since={"run:w": 9})),
        (CASES["budget"].given, Around(since={"run:w": 9})),
        ((*HERE, OF_T), Around(short={"n": "500 MiB free below /"}, since={"node:n": 9})),
    ):
        world = World(*given)
        began = told(world, around._replace(since={}))[0].since
        assert began <= world.log.at < 9_000_000
        (late,) = told(world, around._replace(since=dict.fromkeys(around.since, 9_000_000)))
        (early,) = told(world, around._replace(since=dict.fromkeys(around.since, 1)))
        assert (late.since, early.since) == (9_000_000, began)


def whole(life: Scripted, **more: str) -> list[Held]:
    return held_steps(life.run, Surroundings(life.now, lambda at: f"t{at}" if at else None, **more))


def each_of_a_run() -> dict[str, Held]:
    keys = flow(
        step_keys("a", retries={"max": 1, "backoff": 60}),
        step_keys("e", for_each="x", max_parallel=1),
        {"id": "gate", "approval": {"prompt": "?", "timeout": 9}},
        step_keys("p", snapshot=True),
        {"id": "ship", "workflow": "deploy"},
        step_keys("b", "a", "gate"),
    )
    life = Scripted(keys, {"a": [BAD]}, items={"e": [1, 2]})
    life.go(lambda life: len(life.run.working) == 3 and bool(life.run.wishes))
    life._end("a")
    life.run.instances["ship"].child = "c1"
    waits = {life.run.instances["e[0]"].task: ("agent", 1)}
    around = Surroundings(life.now, lambda at: f"t{at}" if at else None, tasks=waits, reasons={})
    found = {one.step: one for one in held_steps(life.run, around)}
    assert {name: one.reason for name, one in found.items()} == {
        "a": "retry", "e[0]": "step", "e[1]": "items", "gate": "approval", "p": "restore", "ship": "child",
    }  # fmt: skip
    return found


def test_each_step_of_a_run_says_what_it_waits_for_and_who_can_let_it_go_on() -> None:
    found = each_of_a_run()
    assert found["gate"].way == "maestro workflow approve r gate, or reject it"
    assert found["gate"].text == "an answer to: ?"
    assert found["ship"].way.endswith("maestro task explain c1")
    assert found["e[0]"].way == f"maestro task explain {found['e[0]'].task}"
    assert all(one.waits and one.since for one in found.values())


def test_a_run_that_is_held_as_a_whole_says_so_first() -> None:
    life = Scripted(flow(step_keys("a"), step_keys("b", "a")))
    life.run = Run(WorkflowRunStarted("r", "w", 1, "", group="g"), 1_000, life.run.workflow)
    (one,) = whole(life, holder="r0")
    assert (one.step, one.reason, one.text) == ("", "group", "run r0, which has the group g")
    assert one.way.endswith("maestro task explain r0")
    life = Scripted(flow(step_keys("a"), step_keys("b", "a")))
    life.tell(WorkflowRunPaused("r", "budget"))
    assert [(one.reason, one.since) for one in whole(life)] == [("budget", "t1000")]
    life = Scripted(flow(step_keys("a"), step_keys("b", "a")))
    life.tell(WorkflowRunPaused("r"))
    assert [(one.reason, one.way) for one in whole(life)] == [("pause", "maestro workflow resume r")]
    life = Scripted(flow(step_keys("a"), step_keys("b", "a")))
    around = Surroundings(life.now, lambda at: f"t{at}", held="pause", held_at=life.run.started_at + 7)
    assert [(one.reason, one.since) for one in held_steps(life.run, around)] == [
        ("pause", f"t{life.run.started_at + 7}")
    ], "of a run above it"
    life = Scripted(flow(step_keys("a")))
    assert next(one.reason for one in whole(life, idle="node n is held: shutdown")) == "node_held"
    (one,) = whole(Scripted(flow(step_keys("a"))).go())
    assert (one.reason, one.waits, one.way) == ("completed", False, "")
    (one,) = whole(Scripted(flow(step_keys("a")), {"a": [BAD]}).go())
    assert (one.reason, one.way) == ("failed", "maestro workflow run w --resume-from failed --run r")


def test_every_reason_is_reached_by_one_of_these_tests() -> None:
    of_runs = {one.reason for one in each_of_a_run().values()} | {"group"}
    elsewhere = {"needs", "store_away"}
    assert CASES.keys() | of_runs | elsewhere == REASONS


def test_the_document_has_each_reason() -> None:
    document = (Path(maestro.__file__).parent / "docs" / "tasks.md").read_text()
    assert not {reason for reason in REASONS if f"`{reason}`" not in document}


def test_a_run_of_which_a_disk_or_the_node_keeps_it_says_so() -> None:
    world = World(*HERE, OF_T)
    (one,) = told(world, Around(short={"n": "500 MiB free below /"}))
    assert one.reason == "disk" and "500 MiB" in one.text
    world.starts("t-0.1")
    (one,) = told(world)
    assert (one.reason, one.waits, one.way) == ("running", False, "")
    world.happens(e.NodeLost("n"))
    (one,) = told(world)
    assert (one.reason, one.since) == ("node_lost", world.log.at) and one.way in one.text


def test_what_keeps_a_chain_of_tasks_is_told_up_to_its_root() -> None:
    world = World(node(), agent("a"), task("t0"), task("t1", after=["t0"]), task("t2", after=["t1"]))
    world.happens(e.AgentStopped("a"))
    found = list(chain(Reasons(world.plan), world.plan.tasks["t2"], world.log.at))
    assert [(name, one.reason) for name, told in found for one in told] == [
        ("t2", "dependency"), ("t1", "dependency"), ("t0", "agent_stopped")
    ]  # fmt: skip


def test_a_restore_that_its_node_is_exchanging_needs_nobody() -> None:
    world = World(*HERE, STOPPED)
    (one,) = told(world, Around(pending={"a": "which has not exchanged them yet: it goes on by itself"}))
    assert one.reason == "restore" and one.way.startswith("nothing to do")


def test_a_label_that_no_node_has_comes_before_an_agent_that_is_busy() -> None:
    world = World(*RUNNING, TAKEN, task("t", "type:code,label:gpu"))
    assert [one.reason for one in told(world)] == ["label"]


def test_of_agents_whose_nodes_lack_a_label_none_is_waited_for_and_of_the_others_one_is() -> None:
    world = World(*RUNNING, TAKEN, LABELLED, task("t", "a,label:gpu"), task("u", "type:code,label:gpu"))
    elsewhere = "a node with the label gpu, which n, where agent a is, has not"
    assert [one.text for one in told(world)] == [elsewhere]
    world.happens(agent("b", "m", workspace="/w/b"), e.AgentStopped("b", "by hand"))
    (one,) = explained(Reasons(world.plan), world.plan.tasks["u"], world.log.at)
    assert one.way == "maestro agent restart b" and elsewhere in one.text


def test_a_busy_agent_whose_node_is_drained_waits_for_the_node_and_a_pool_for_an_agent_that_gets_free() -> None:
    world = World(*RUNNING, TAKEN, e.NodeDrainBegun("n", "drained"), task("t2"), task("t3", "type:code"))
    assert [one.reason for one in told(world, name="t2")] == ["node_drained"]
    world.happens(node("m"), agent("b", "m"), task("t4", "b"))
    world.happens(e.RunReleased("t4-0.1", "t4", 0, 1, "b", "m", 60.0, 1))
    (one,) = told(world, name="t3")
    assert (one.reason, one.way) == ("agent_busy", "that task has to end: maestro task explain t4")


def test_it_waits_since_the_later_of_both_where_its_agent_became_unable_meanwhile() -> None:
    for unable in (e.AgentStopped("a", "by hand"), unhealthy("binary")):
        world = World(*HERE, unable)
        event = world.log.events[-1]
        (one,) = told(world, Around(since={"a": event.at}))
        assert one.since == event.at > told(world)[0].since


def test_of_a_node_that_is_lost_and_drained_both_are_to_be_mended_and_the_loss_is_as_old_as_it_is() -> None:
    world = World(*HERE, e.NodeLost("n"), e.AgentHealthChanged("a", False, ("node",), "node n is lost"))
    lost_at = world.log.at
    world.happens(e.NodeDrainBegun("n", "drained"))
    (one,) = told(world, Around(since={"a": lost_at}))
    assert (one.reason, one.since) == ("node_lost", lost_at)
    assert "maestro up" in one.way and one.way.endswith("it is drained, too: maestro node drain n --undo")
    world = World(*HERE, e.NodeDrainBegun("n", "drained"), e.NodeLeft("n", "drained"))
    (one,) = told(world)
    assert one.reason == "node_drained" and one.way.endswith("and start its daemon there (maestro up)")


def test_what_was_skipped_for_a_task_of_history_is_dispatched_anew() -> None:
    row = Task("t", 1, 1, "t", "skipped", [], 1, "", depends_on=["t0"], reason="task t0 failed")
    assert ended(row).way == "maestro task retry t0 --with-dependants"
    assert ended(row, {"t0"}).way.startswith("a new dispatch of both: maestro task dispatch")


def test_only_what_waits_is_told_of_a_task_of_several_targets() -> None:
    world = World(*HERE[:2], agent("b"), e.AgentStopped("b"), task("t", "a", "b"))
    world.decides()
    world.starts("t-0.1")
    assert [(one.slot, one.reason, one.waits) for one in told(world)] == [
        (0, "running", False), (1, "agent_stopped", True)
    ]  # fmt: skip


ENDS: dict[str, tuple[Callable[[World], World], str]] = {
    "completed": (lambda world: world.runs("t-0.1"), ""),
    "failed": (lambda world: world.runs("t-0.1", "exit"), "maestro task retry t"),
    "budget": (lambda world: world.runs("t-0.1", "budget"), "raise `budget` in the YAML of the agent's type, then"),
    "timed_out": (lambda world: world.runs("t-0.1", "timeout"), "maestro task retry t"),
}


@pytest.mark.parametrize("reason", ENDS)
def test_one_that_has_ended_says_how_and_what_would_try_it_again(reason: str) -> None:
    world = World(*HERE)
    world.decides()
    end, way = ENDS[reason]
    end(world).decides()
    one = ended(world.task("t"))
    assert (one.reason, one.waits) == (reason, False) and one.way.startswith(way) and bool(one.way) == bool(way)


def test_over_a_budget_the_way_on_is_of_the_one_that_was_spent() -> None:
    world = World(*HERE)
    world.decides()
    world.runs("t-0.1", "budget").decides()
    row = world.task("t")
    row.budget_cost, row.slots[0].runs[-1].cost = 1.0, 0.9
    row.slots[0].runs[-1].evidence = "over; to raise it: `budget` in /f, then `maestro agent register x`"
    assert ended(row).way == "`budget` in /f, then `maestro agent register x`, then: maestro task retry t"
    row.slots[0].runs[-1].cost = 1.1
    assert ended(row).way == "maestro task retry t --budget-cost N (or --budget-tokens N)"


def test_one_that_was_skipped_names_the_task_that_is_to_be_retried() -> None:
    world = World(*HERE[:2], task("t0"), task("t9"), task("t", after=["t9", "t0"]))
    world.decides()
    world.runs("t0-0.1", "exit").decides()
    world.decides()
    one = ended(world.task("t"))
    assert (one.reason, one.way) == ("skipped", "maestro task retry t0 --with-dependants")


def test_a_way_on_needs_a_reason() -> None:
    assert way_on("") == ""
    with pytest.raises(KeyError):
        way_on("nothing")
