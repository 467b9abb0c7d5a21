"""A decision costs what has changed, counted in looks at the plan and not in seconds."""

from __future__ import annotations

from maestro.model import events as e
from maestro.model.scheduling.schedule import decide
from tests.model.facts import World, agent, node, task

CHAIN = 10_000


class Looks:
    """Counts how often the plan is asked whether an entry is true."""

    def __init__(self, world: World) -> None:
        self.count = 0
        self._is_true = world.plan.lanes._is_true
        world.plan.lanes._is_true = self

    def __call__(self, entry: object) -> bool:
        self.count += 1
        return self._is_true(entry)  # type: ignore[arg-type]


def chain() -> World:
    """Tasks that each depend on the one before."""
    world = World(node(), agent("a"), task("t0"))
    world.happens(*(task(f"t{n}", after=[f"t{n - 1}"]) for n in range(1, CHAIN)))
    return world


def test_a_chain_of_ten_thousand_tasks_runs_to_its_end_one_after_the_other() -> None:
    world = chain()
    world.decides()
    looks = Looks(world)
    for n in range(CHAIN):
        world.runs(f"t{n}-0.1").decides()
    assert world.plan.tasks == {}
    assert looks.count < 20 * CHAIN


def test_a_chain_of_ten_thousand_tasks_is_skipped_in_one_pass() -> None:
    world = chain()
    world.decides()
    world.runs("t0-0.1", "exit")
    facts = world.decides()
    assert len(facts) == CHAIN
    assert {fact.status for fact in facts if isinstance(fact, e.TaskFinished)} == {"failed", "skipped"}
    assert world.plan.tasks == {}
    assert world.plan.dependencies.settled == {}


def test_ten_thousand_queued_tasks_for_one_agent_cost_a_few_looks_each() -> None:
    world = World(node(), agent("a"), *(task(f"t{n}", priority=n % 5 + 1) for n in range(10_000)))
    world.decides()
    looks = Looks(world)
    for _ in range(500):
        (run,) = world.plan.crew.live
        world.runs(run).decides()
    assert looks.count < 500 * 10


def test_events_that_free_nobody_are_decided_without_a_look_at_the_queue() -> None:
    world = World(node(slots=1), agent("a"), agent("b"), *(task(f"t{n}") for n in range(5_000)))
    world.decides()
    looks = Looks(world)
    for n in range(200):
        world.happens(task(f"u{n}", "b", priority=5))
        assert decide(world.plan, world.log.at) == []
    assert looks.count < 200 * 10
