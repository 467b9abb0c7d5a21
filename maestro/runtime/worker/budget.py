"""The budgets of runs: what a run, and all tries of its task together, may use in tokens and cost."""

from __future__ import annotations

from maestro.agents.parts import Budget
from maestro.agents.schema import Definition
from maestro.agents.usage import Usage
from maestro.model.task import Task
from maestro.runtime.worker.run_observer import usage_of


def exceeded(budget: Budget, task: Task | None, run: str, used: Usage, more: str = "") -> str | None:
    """The budget that a run with this usage has exceeded, in words; None where there is none.

    budget: of the type, for each run. task: its row, with a budget for all its tries and the usage of the other ones.
    more: how the type's is raised, in words.
    """
    found = _over("the type's budget of one run", budget.tokens, budget.cost, used)
    if found is not None and more:
        found = f"{found}; {more}"
    if found is None and task is not None and (task.budget_tokens is not None or task.budget_cost is not None):
        for slot in task.slots:
            for other in slot.tries:
                if other.id != run:
                    used = used.plus(usage_of(other))
        found = _over("the task's budget", task.budget_tokens, task.budget_cost, used)
    return found


def raised_by(definition: Definition) -> str:
    """How the budget of a type is raised, in words: which key of which file, and what takes it; "" of a built-in."""
    if not definition.source.startswith("/"):
        return ""
    return f"to raise it: `budget` in {definition.source}, then `maestro agent register {definition.slug}`"


def _over(whose: str, tokens: int | None, cost: float | None, used: Usage) -> str | None:
    if tokens is not None and used.tokens > tokens:
        return f"{whose} is {tokens} tokens, {used.tokens} were used"
    if cost is not None and used.cost > cost:
        return f"{whose} is a cost of {cost:g}, {used.cost:g} was used"
    return None
