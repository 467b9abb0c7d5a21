"""Attempts of steps as their tasks and child runs tell them: how they ended, and what they use meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.task import Run as TaskRun, Task
from maestro.model.workflow.decide import Work
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns


class Attempts:
    """What is known of the attempts that are on."""

    def __init__(self, context: Context, follower: Follower, runs: LiveRuns) -> None:
        self._context = context
        self._follower = follower
        self._runs = runs

    async def catch_up(self, live: LiveRun) -> None:
        """Find the attempts of a run that ended while nobody led: their tasks, and their child runs."""
        for id in live.run.working:
            one = live.run.instances[id]
            if one.task and one.task not in self._follower.plan.tasks:
                row = await self._context.row(self._context.views.task, one.task)
                if row is not None and not row.open:
                    live.ends[id] = row
            elif one.child and one.child not in self._runs:
                header = await self._context.row(self._context.views.workflow_run, one.child)
                if header is not None and not header.open:
                    live.child_ends[id], _ = await self._context.gateway.ask(read_run, self._context.store, header)

    def waiting(self, live: LiveRun) -> frozenset[Work]:
        """The starts whose tasks wait for their turn, where a budget asks for it."""
        if live.run.workflow.budget is None:
            return frozenset()
        tasks = self._follower.plan.tasks
        rows = {id: tasks.get(live.run.instances[id].task) for id in live.run.working}
        return frozenset(Work("start", id) for id, row in rows.items() if row is not None and not row.begun)

    def usage(self, live: LiveRun) -> tuple[int, float]:
        """Tokens and cost that the attempts which are on have used up to now, those of child runs included."""
        tokens, cost = 0, 0.0
        for id in live.run.working:
            one = live.run.instances[id]
            child = self._runs.get(one.child) if one.child else None
            if child is not None:
                more = self.usage(child)
                tokens, cost = tokens + child.run.tokens + more[0], cost + child.run.cost + more[1]
            row = self._follower.plan.tasks.get(one.task)
            if row is not None:
                for run in runs_of(row):
                    tokens, cost = tokens + run.input_tokens + run.output_tokens, cost + run.cost
        return tokens, cost


def runs_of(row: Task) -> Sequence[TaskRun]:
    """All runs of a task."""
    return [run for slot in row.slots for run in slot.runs]
