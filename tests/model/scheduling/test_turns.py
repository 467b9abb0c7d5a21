"""What waits, in the order of its turn: as the scheduler goes, and with reasons that are counted the same elsewhere."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from maestro.model.scheduling.backlog import backlog
from maestro.model.scheduling.turns import next_ones
from tests.model.facts import World, agent, node, task
from tests.model.test_any_interleaving import ALL, Parties


def test_the_urgent_comes_first_then_the_older_by_the_agents_priority_where_a_task_has_none() -> None:
    world = World(
        node(slots=0),
        agent("a", priority=4),
        agent("b", priority=2),
        task("late", "a"),
        task("soon", "b"),
        task("now", "a", priority=1),
        task("after", "b", after=["now"]),
    )
    found = next_ones(world.plan, world.plan.tasks, world.log.at, 10)
    assert [each.task.id for each in found] == ["now", "soon", "after", "late"]
    assert [each.why.kind for each in found] == ["slot", "slot", "dependency", "slot"]
    assert [each.task.id for each in next_ones(world.plan, ["late", "gone", "now"], world.log.at, 1)] == ["now"]


@pytest.mark.parametrize("seed", range(8))
def test_reasons_are_of_the_kinds_that_the_backlog_counts(seed: int) -> None:
    random = Random(seed)
    parties = Parties()
    for _ in range(120):
        parties.step(random.choice(ALL), random.randrange(2**32))
        plan, now = parties.cluster.plan, parties.cluster.log.at
        plan.wake(now)
        found = Counter(each.why.kind for each in next_ones(plan, plan.tasks, now, 10**6))
        deep = {kind: waiting.depth for kind, waiting in backlog(plan).items() if waiting.depth}
        assert found == deep
