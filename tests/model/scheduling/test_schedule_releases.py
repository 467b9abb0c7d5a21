"""What may run, on whom, in which order, and what it waits for otherwise."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from maestro.model import events as e
from maestro.model.scheduling.schedule import decide, next_due, why_waiting
from maestro.model.task import LEVEL_MS
from tests.model.facts import World, agent, node, task


def why(world: World, name: str, slot: int = 0) -> str:
    return why_waiting(world.plan, world.plan.tasks[name], slot, world.log.at)


def test_a_task_for_a_free_agent_is_released_to_its_node_with_a_hint() -> None:
    world = World(node(), agent("a"), task("t"))
    (decision,) = decide(world.plan, world.log.at)
    assert decision.hints == (("n", "t-0.1", 0),)
    assert decision.cause == "3"
    (event,) = decision.events
    assert event.expected == 0
    released = event.fact
    assert isinstance(released, e.RunReleased)
    assert (released.agent, released.node, released.attempt, released.shared) == ("a", "n", 1, False)


def test_what_the_log_refused_is_decided_again_and_what_it_took_is_not() -> None:
    world = World(node(), agent("a"), task("t"))
    assert decide(world.plan, world.log.at) == decide(world.plan, world.log.at)
    assert len(world.decides()) == 1
    assert world.decides() == []


def test_an_agent_runs_one_task_at_a_time() -> None:
    world = World(node(), agent("a"), task("t"), task("u"))
    assert world.releases() == [("t-0.1", "a")]
    assert why(world, "u") == "agent a is busy with task t"
    world.runs("t-0.1")
    assert world.releases() == [("u-0.1", "a")]


def test_two_agents_never_write_to_one_workspace() -> None:
    world = World(node(), agent("a", workspace="/w"), agent("b", workspace="/w"), task("t", "a"), task("u", "b"))
    assert world.releases() == [("t-0.1", "a")]
    assert why(world, "u") == "workspace /w is in use by agent a"
    world.runs("t-0.1")
    assert world.releases() == [("u-0.1", "b")]


def test_the_same_path_on_another_node_is_another_workspace() -> None:
    world = World(node("n"), node("m"), agent("a", workspace="/w"), agent("b", "m", workspace="/w"))
    world.happens(task("t", "a"), task("u", "b"))
    assert world.releases() == [("t-0.1", "a"), ("u-0.1", "b")]


def test_a_node_runs_at_most_its_slots_and_says_so() -> None:
    world = World(node(slots=2), *(agent(name) for name in "abc"), *(task(f"t{name}", name) for name in "abc"))
    assert len(world.releases()) == 2
    assert why(world, "tc") == "a slot on node n"
    world.runs("ta-0.1")
    assert world.releases() == [("tc-0.1", "c")]


def test_the_smaller_priority_number_goes_first_then_the_older() -> None:
    world = World(node(slots=0), *(agent(name, priority=4) for name in "abcd"))
    world.happens(
        task("t1", "a", priority=3), task("t2", "b", priority=1), task("t3", "c"), task("t4", "d", priority=3)
    )
    assert world.releases() == []
    world.happens(node(slots=4))
    assert [run for run, _ in world.releases()] == ["t2-0.1", "t1-0.1", "t4-0.1", "t3-0.1"]


def test_ten_minutes_of_waiting_count_as_one_level() -> None:
    world = World(node(slots=0), agent("a"), agent("b"), task("old", "a", priority=2))
    world.log.at += LEVEL_MS
    world.happens(task("new", "b", priority=1), node(slots=1))
    assert world.releases() == [("old-0.1", "a")]


def test_a_new_priority_of_the_agent_moves_what_waits_for_it() -> None:
    world = World(node(slots=0), agent("a"), agent("b"), task("t", "a"), task("u", "b"))
    world.happens(agent("b", priority=1), node(slots=1))
    assert world.releases() == [("u-0.1", "b")]


def test_a_busy_agent_does_not_keep_the_slot_from_another() -> None:
    world = World(node(slots=2), agent("a"), agent("b"), task("t", "a"))
    world.releases()
    world.happens(task("urgent", "a", priority=1), task("later", "b", priority=5))
    assert world.releases() == [("later-0.1", "b")]


def test_what_stands_behind_a_cancelled_task_goes_on() -> None:
    world = World(node(slots=0), agent("a"), task("t"), task("u"))
    world.decides()
    world.happens(e.TaskCancelRequested("t", "no"))
    world.decides()
    world.happens(node(slots=1))
    assert world.releases() == [("u-0.1", "a")]


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (e.AgentStopped("a"), "agent a is stopped"),
        (e.AgentHealthChanged("a", False, ("disk", "process")), "agent a is unhealthy: disk, process"),
        (e.NodeHeld("n", "shutdown"), "node n is held: shutdown"),
        (e.NodeLost("n"), "node n is lost"),
        (e.NodeLeft("n"), "node n is down"),
    ],
)
def test_a_task_waits_and_says_for_what(fact: e.AnyFact, reason: str) -> None:
    world = World(node(), agent("a"), fact, task("t"))
    assert world.decides() == []
    assert why(world, "t") == reason
    world.happens(node(), e.NodeResumed("n"), e.AgentRestarted("a"))
    assert world.releases() == [("t-0.1", "a")]


def test_a_forced_task_goes_to_an_unhealthy_agent_before_the_others() -> None:
    world = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("disk",)), task("t"), task("u", forced=True))
    assert world.releases() == [("u-0.1", "a")]


def test_an_agent_that_is_not_assigned_or_whose_node_never_joined_is_waited_for() -> None:
    world = World(node(), task("t", "ghost"), agent("a", node="nowhere"), task("u"))
    assert world.decides() == []
    assert why(world, "t") == "agent ghost to be assigned"
    assert why(world, "u") == "node nowhere has not joined"
    world.happens(agent("ghost"))
    assert world.releases() == [("t-0.1", "ghost")]


def test_an_agent_without_a_node_runs_wherever_there_is_room() -> None:
    world = World(node("n", 1), node("m", 1), *(agent(name, None) for name in "abc"), *(task(x, x) for x in "abc"))
    decisions = decide(world.plan, world.log.at)
    assert [decision.hints[0][0] for decision in decisions] == ["", ""]
    world.decides()
    assert why(world, "a") == "a node to start it"
    assert why(world, "c") == "a slot on any node"
    assert world.plan.released_unstarted() == [("", "a-0.1", 9), ("", "b-0.1", 10)]
    world.starts("a-0.1", "m").ends("a-0.1")
    assert world.releases() == [("c-0.1", "c")]


def test_hints_on_the_shared_stream_count_against_the_slots_of_all() -> None:
    world = World(node("n", 1), agent("free", None), task("t", "free"))
    world.releases()
    world.happens(agent("a"), task("u"))
    assert world.decides() == []
    assert why(world, "u") == "a slot on node n"


# ---- pools ----


def test_a_pool_takes_the_least_loaded_healthy_agent() -> None:
    world = World(node(), agent("a"), agent("b"), agent("c", type="other"), task("busy", "a"))
    world.releases()
    world.happens(e.AgentHealthChanged("c", False, ("disk",)), task("t", "type:code"), task("u", "type:other"))
    assert world.releases() == [("t-0.1", "b")]
    assert why(world, "u") == "agent c is unhealthy: disk"


@pytest.mark.parametrize("pool", ["type:code", "role:review", "capability:fast"])
def test_a_pool_is_named_by_type_role_or_capability(pool: str) -> None:
    world = World(node(), agent("a", role="review", definition={"capabilities": ["fast", "cheap"]}))
    world.happens(task("t", pool), task("u", "role:none"))
    assert world.releases() == [("t-0.1", "a")]
    assert why(world, "u") == "another agent of role:none"


def test_a_pool_gives_each_of_its_agents_a_task_at_once() -> None:
    world = World(node(), agent("a"), agent("b"), *(task(f"t{n}", "type:code") for n in range(3)))
    assert world.releases() == [("t0-0.1", "a"), ("t1-0.1", "b")]
    assert why(world, "t2") == "an agent of type:code (agent a is busy with task t0; agent b is busy with task t1)"


def test_a_pool_and_a_direct_task_share_an_agent_by_priority() -> None:
    world = World(node(), agent("a"), task("direct", "a", priority=4), task("pooled", "type:code", priority=2))
    assert world.releases() == [("pooled-0.1", "a")]
    world.runs("pooled-0.1")
    assert ("direct-0.1", "a") in world.releases()


def test_a_pool_goes_on_with_another_agent_and_ends_when_none_is_left() -> None:
    world = World(node(), agent("a"), agent("b"), task("t", "type:code"))
    world.decides()
    world.runs("t-0.1", "oom")
    assert world.releases() == [("t-0.2", "b")]
    world.runs("t-0.2", "oom")
    parked, finished = world.decides()
    assert isinstance(parked, e.RunParked)
    assert isinstance(finished, e.TaskFinished)
    assert (finished.status, finished.outcome) == ("failed", "oom")


def test_a_pool_with_retries_goes_back_to_an_agent_that_failed() -> None:
    world = World(node(), agent("a"), task("t", "type:code", retries=1))
    world.decides()
    world.runs("t-0.1", "oom")
    assert world.releases() == [("t-0.2", "a")]


def test_a_pool_prefers_an_agent_that_did_not_lose_the_run() -> None:
    world = World(node(), agent("a"), agent("b"), task("t", "type:code"))
    world.decides()
    world.runs("t-0.1", "lost")
    assert world.releases() == [("t-0.2", "b")]


# ---- retries ----


def test_an_agents_failure_is_tried_again_at_its_time_as_often_as_retries_say() -> None:
    world = World(node(), agent("a"), task("t", retries=1))
    world.decides()
    world.runs("t-0.1", "exit", retry_at=world.log.at + 5000)
    assert world.decides() == []
    assert why(world, "t") == "retry in 5 s"
    due = next_due(world.plan, world.log.at)
    assert due is not None
    world.log.at = due
    assert world.releases() == [("t-0.2", "a")]
    assert next_due(world.plan, world.log.at) is None
    world.runs("t-0.2", "timeout")
    (finished,) = world.decides()
    assert isinstance(finished, e.TaskFinished)
    assert (finished.status, finished.outcome) == ("timed_out", "timeout")


@pytest.mark.parametrize("outcome", ["spawn_error", "wrong_mode", "budget", "cancelled"])
def test_what_would_fail_the_same_way_is_not_tried_again(outcome: str) -> None:
    world = World(node(), agent("a"), task("t", retries=3))
    world.decides()
    world.runs("t-0.1", outcome)
    assert not any(isinstance(fact, e.RunReleased) for fact in world.decides())
    assert not world.task("t").open


def test_a_lost_run_is_run_again_three_times_then_parked() -> None:
    world = World(node(), agent("a"), task("t"))
    for attempt in range(1, 5):
        assert world.releases() == [(f"t-0.{attempt}", "a")]
        world.runs(f"t-0.{attempt}", "lost")
    parked, finished = world.decides()
    assert isinstance(parked, e.RunParked)
    assert parked.losses == 4
    assert isinstance(finished, e.TaskFinished)
    assert (finished.status, finished.outcome) == ("failed", "parked")
    assert world.happens(e.TaskRetried("t")).releases() == [("t-0.5", "a")]


def test_a_lost_run_ends_the_task_where_it_says_so() -> None:
    world = World(node(), agent("a"), task("t", on_lost="fail"))
    world.decides()
    world.runs("t-0.1", "lost")
    (finished,) = world.decides()
    assert isinstance(finished, e.TaskFinished)
    assert (finished.status, finished.outcome) == ("failed", "lost")


def test_losses_do_not_use_up_retries() -> None:
    world = World(node(), agent("a"), task("t", retries=1))
    for attempt, outcome in enumerate(("lost", "exit", "lost"), 1):
        assert world.releases() == [(f"t-0.{attempt}", "a")]
        world.runs(f"t-0.{attempt}", outcome)
    assert world.releases() == [("t-0.4", "a")]


# ---- nodes ----


def test_runs_of_a_lost_node_that_may_run_anywhere_are_released_elsewhere() -> None:
    world = World(node("n"), node("m"), agent("free", None), task("t", "free"))
    world.decides()
    world.starts("t-0.1", "m").happens(e.NodeLost("m"))
    (ended,) = world.decides()
    assert isinstance(ended, e.RunEnded)
    assert (ended.outcome, ended.source) == ("lost", "maestro")
    assert world.releases() == [("t-0.2", "free")]


def test_a_run_bound_to_a_lost_node_waits_for_it() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.starts("t-0.1").happens(e.NodeLost("n"))
    assert world.decides() == []


def test_a_released_run_is_withdrawn_when_its_agent_is_stopped_or_moved_and_that_is_no_loss() -> None:
    world = World(node("n"), node("m"), agent("a"), task("t"))
    world.decides()
    world.happens(agent("a", "m"))
    (ended,) = world.decides()
    assert isinstance(ended, e.RunEnded)
    world.decides()
    assert world.slot("t").losses == 0
    assert world.slot("t").runs[-1].node == "m"
    world.happens(e.AgentStopped("a"))
    world.decides()
    assert world.slot("t").status == "waiting"
    assert why(world, "t") == "agent a is stopped"


def test_a_second_run_of_an_agent_is_withdrawn_whoever_released_it() -> None:
    world = World(node(), agent("a"), task("t"), task("u"))
    world.decides()
    world.starts("t-0.1").happens(e.RunReleased("u-0.1", "u", 0, 1, "a", "n", 60, world.log.at))
    (ended,) = world.decides()
    assert isinstance(ended, e.RunEnded)
    assert ended.run == "u-0.1"
    assert world.agent("a").run == "t-0.1"


def test_the_time_limit_is_the_tasks_else_the_types_else_the_plans() -> None:
    limits = {"limits": {"timeout_s": 60}}
    world = World(node(), agent("a", definition=limits), agent("b"))
    world.happens(task("own", "a", timeout_s=5.0), task("none", "b"))
    timeouts = {fact.run: fact.timeout_s for fact in world.decides() if isinstance(fact, e.RunReleased)}
    assert timeouts == {"own-0.1": 5.0, "none-0.1": 1800.0}
    world.runs("own-0.1").happens(task("types", "a"))
    assert [fact.timeout_s for fact in world.decides() if isinstance(fact, e.RunReleased)] == [60.0]


# ---- order, against the simplest thing that could be right ----

ORDERS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1, 2, 5]), st.sampled_from([0, 100_000, 900_000])),
    min_size=1,
    max_size=25,
)


@given(ORDERS, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_order_is_that_of_a_plain_sort(tasks: list[tuple[str, int | None, int]], slots: int) -> None:
    priorities = {"a": 3, "b": 1, "c": 5, "d": 3}
    world = World(node(slots=0), *(agent(name, priority=priority) for name, priority in priorities.items()))
    expected = []
    for number, (target, priority, wait) in enumerate(tasks):
        world.log.at += wait
        world.happens(task(f"t{number}", target, priority=priority))
        key = (priority or priorities[target]) * LEVEL_MS + world.log.at
        expected.append((key, number, target))
    world.decides()
    world.happens(node(slots=slots))
    busy: list[str] = []
    for *_, target in sorted(expected):
        if target not in busy and len(busy) < slots:
            busy.append(target)
    assert [name for _, name in world.releases()] == busy
