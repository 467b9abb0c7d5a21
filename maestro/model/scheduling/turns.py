"""Who gets its turn next among what waits, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.waiting import Reasons, Why
from maestro.model.task import PRIORITY_DEFAULT, Task


class Waiting(NamedTuple):
    """A slot that waits. since: as the census has it, server ms."""

    task: Task
    slot: int
    why: Why
    since: int


def next_ones(plan: Plan, tasks: Iterable[str], now: int, limit: int) -> list[Waiting]:
    """Those of these tasks' slots that wait, in the order of their turn. now: server ms."""
    reasons = Reasons(plan)
    found = []
    for name in tasks:
        task = plan.tasks.get(name)
        for index, slot in enumerate(task.slots if task is not None else ()):
            if task is not None and slot.status in ("waiting", "released"):
                why = reasons.of(task, index, now)
                found.append((_turn(plan, task, index), Waiting(task, index, why, plan.census.since(name, index))))
    return [waiting for _, waiting in sorted(found, key=lambda each: each[0])[:limit]]


def _turn(plan: Plan, task: Task, index: int) -> tuple[int, int, int]:
    agent = plan.agents.get(task.slots[index].target)
    return task.order_key(PRIORITY_DEFAULT if agent is None else agent.priority), task.position, index
