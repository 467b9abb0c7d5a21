"""The backlog of a plan counts what `queue status` says in words of each slot, whatever has happened before."""

from __future__ import annotations

from random import Random

import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.scheduling import waiting
from maestro.model.scheduling.backlog import REASONS, Waiting, backlog
from maestro.model.scheduling.lanes import Lane
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import decide
from maestro.model.task import Task
from tests.model.facts import World, agent, node, task
from tests.model.test_any_interleaving import ALL, Parties

WORDS = (
    (" to start it", "start"),
    ("task ", "dependency"),
    ("retry in ", "retry"),
    ("workflow run ", "paused"),
    ("its turn", "ready"),
    ("a slot on ", "slot"),
    ("a node that takes work", "node"),
    ("node ", "node"),
    ("another agent of ", "agent"),
    ("agent ", "agent"),
)
"""How the reasons of `queue status` begin, and what each is in short; those of a workspace name it."""


def in_short(why: str) -> str:
    """The reason in one word."""
    if " is in use by " in why or " is held by step " in why:
        return "workspace"
    return next(word for words, word in WORDS if why.startswith(words) or (words == " to start it" and words in why))


def counted(plan: Plan, now: int) -> dict[str, int]:
    """How many slots wait for what, from a look at each of them."""
    found = dict.fromkeys(REASONS, 0)
    for row in plan.tasks.values():
        for index, slot in enumerate(row.slots):
            if slot.status == "released":
                found["start"] += 1
            elif slot.status == "waiting":
                found[reason(plan, row, index, now)] += 1
    return found


def reason(plan: Plan, row: Task, index: int, now: int) -> str:
    """Why a slot waits; of a pool's agents, the one that lacks least says it."""
    slot = row.slots[index]
    lane = plan.lane(row, slot)
    why = waiting.why_waiting(plan, row, index, now)
    members = [one for one in plan.crew.candidates(slot.target) if not (lane.strict and one.id in lane.avoid)]
    if not why.startswith(("an agent of ", "its turn", "a slot on ")):
        return in_short(why)
    return min(far(plan, one, lane) for one in members)[2]


ENDS_BY_ITSELF = ("agent_busy", "node_full", "node_still", "workspace_shared", "workspace_held")


def far(plan: Plan, agent: Agent, lane: Lane) -> tuple[int, int, str]:
    """What ends by itself is nearer than what somebody has to see to, and a label that is missing is the farthest."""
    word = of_agent(plan, agent, lane)
    reason = waiting.Reasons(plan)._not_agent(agent, lane).reason
    rank = 0 if word in ("ready", "slot") or reason in ENDS_BY_ITSELF else 2 if reason == "label" else 1
    return rank, ("ready", "slot", "node", "workspace", "agent").index(word), word


def of_agent(plan: Plan, agent: Agent, lane: Lane) -> str:
    """What an agent lacks. Room is as the scheduler counts it: an agent that was moved may still run elsewhere."""
    word = in_short(waiting.Reasons(plan)._not_agent(agent, lane).text or "its turn")
    if word in ("ready", "slot"):
        site = plan.crew.site(lane.ground, agent)
        assert site is not None
        return "ready" if plan.crew.free_slots()[site.node] else "slot"
    return word


@pytest.mark.parametrize("seed", range(15))
def test_it_counts_what_each_slot_waits_for(seed: int) -> None:
    random = Random(seed)
    parties = Parties()
    for _ in range(120):
        parties.step(random.choice(ALL), random.randrange(2**32))
        plan, now = parties.cluster.plan, parties.cluster.log.at
        plan.wake(now)
        assert {word: of.depth for word, of in backlog(plan).items()} == counted(plan, now)
    fresh = parties.cluster.log.plan()
    fresh.wake(now)
    assert {word: of.depth for word, of in backlog(fresh).items()} == counted(plan, now)


def test_a_plan_without_open_tasks_has_no_backlog_and_keeps_nothing() -> None:
    world = World(node(), agent("a"), task("t0"), task("t1", after=["t0"]))
    for name in ("t0", "t1"):
        world.decides()
        world.runs(f"{name}-0.1").decides()
    assert backlog(world.plan) == {word: Waiting() for word in REASONS}
    assert not world.plan.census._groups and not world.plan.census._at and not world.plan.freed


def test_a_wait_begins_when_nothing_but_the_queue_keeps_a_slot() -> None:
    world = World(node(), agent("a"), task("t0"), task("t1", after=["t0"]))
    dispatched_at = world.log.at
    assert backlog(world.plan)["dependency"] == Waiting(1, dispatched_at)
    world.decides()
    world.log.at += 60_000
    world.runs("t0-0.1").decides()
    assert world.plan.census.since("t1", 0) == world.log.at
    world.log.at += 5_000
    assert backlog(world.plan)["start"] == Waiting(1, world.log.at - 5_000)


def test_the_delay_of_a_retry_is_no_wait_in_the_queue() -> None:
    world = World(node(), agent("a"), task("t0", retries=1))
    world.decides()
    world.happens(e.RunStarted("t0-0.1", "t0", "a", "n1", "/f", "/w"))
    failed_at, retry_at = world.log.at + 1, world.log.at + 30_000
    world.happens(e.RunEnded("t0-0.1", "t0", "a", "exit", 1, retry_at=retry_at))
    assert backlog(world.plan)["retry"] == Waiting(1, failed_at)
    world.log.at = retry_at + 7
    world.plan.wake(world.log.at)
    assert backlog(world.plan)["ready"] == Waiting(1, retry_at)


def test_ten_thousand_tasks_of_one_lane_are_judged_once() -> None:
    world = World(node(slots=1), agent("a"), agent("b"), *(task(f"t{n}") for n in range(10_000)))
    decide(world.plan, world.log.at)
    looks: list[str] = []
    candidates = world.plan.crew.candidates
    world.plan.crew.candidates = lambda target: looks.append(target) or candidates(target)  # type: ignore[method-assign,func-returns-value]
    assert backlog(world.plan)["ready"].depth == 10_000
    assert looks == ["a"]
