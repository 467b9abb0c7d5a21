"""The loader of the plan: from the views, with the rows that the plan lacks; cost O(open tasks), not O(history)."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.errors import Conflict
from maestro.model.scheduling.plan import Plan
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from projections.view_reader import Views

TRIES_MAX = 200
ROUNDS_MAX = 100


def load_plan(views: Views, timeout_s: float) -> Plan:
    """The plan at the end of the log. timeout_s: of runs whose task and type give none.

    The pages of the views must be of one checkpoint; where others advance the views in between, they are read again.
    Raises Conflict where that goes on for TRIES_MAX reads.
    """
    for _ in range(TRIES_MAX):
        agents = views.agents()
        nodes = views.nodes()
        tasks = views.open_tasks()
        at = tasks.checkpoint
        runs = views.workflow_runs("open", newest=False)
        snapshots = views.snapshots("open")
        if {page.checkpoint.seq for page in (agents, nodes, runs, snapshots)} == {at.seq}:
            plan = Plan.load(tasks.rows, agents.rows, nodes.rows, at.seq, at.floor, snapshots.rows)
            plan.timeout_s = timeout_s
            hold(plan, runs.rows)
            supply(plan, views)
            return plan
    raise Conflict("the views move too fast to be read as one", mend="try again")


def hold(plan: Plan, runs: Sequence[RunHeader]) -> None:
    """Have the open runs of workflows hold what their steps hold, and those wait that are paused."""
    for run in runs:
        plan.pauses.begin(run.id, run.parent)
        if run.paused:
            plan.pauses.pause(run.id, run.paused)
        for instance, (node, workspace) in run.held.items():
            plan.hold((run.id, instance), (node, workspace))


def supply(plan: Plan, views: Views) -> None:
    """Give the plan the rows of finished tasks that open ones depend on, or that were queued again.

    Each row may name other tasks; what is still missing after ROUNDS_MAX rounds, the follower looks up later.
    """
    for _ in range(ROUNDS_MAX):
        if not plan.missing:
            break
        for rows, as_of in look_up(list(plan.missing), views):
            plan.supply(rows, as_of)


def look_up(tasks: Sequence[str], views: Views) -> list[tuple[dict[str, Task | None], int]]:
    """The rows of tasks (None: there is no such task), each with the position of its view, for `Plan.supply`."""
    found = [(task, views.task(task)) for task in tasks]
    return [({task: each.row}, each.checkpoint.seq) for task, each in found]
