"""The explanation of a task: why each part of it does not go on, since when, and what would let it; or how it ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from maestro.model.node import Node
from maestro.model.permissions.requests import words_of
from maestro.model.scheduling.sites import VIRTUAL, shown_agent
from maestro.model.scheduling.waiting import RUNS, Reasons, Why, drained_too
from maestro.model.task import Run, Slot, Task

DEEP_MAX: Final = 20
"""So many tasks that wait for each other are told of one task."""

Chain = tuple[str, list["Explained"]]
"""A task with its explanation."""


class Explained(NamedTuple):
    """Of one target of a task: why it does not go on. slot: its number; text: in words, as `queue status` has it.

    reason: one of `ways.REASONS`, `running` where nothing keeps it, or how the task has ended. since: server ms, 0 for
    unknown; way: what would let it go on, "" for nothing; waits: it is open, and something keeps it.
    """

    slot: int
    target: str
    reason: str
    text: str
    since: int
    way: str
    waits: bool = True


def explained(reasons: Reasons, task: Task, now: int) -> list[Explained]:
    """Of a task that is open: each target that has not ended. Of one that has ended: how, and what would try it again.

    now: server ms.
    """
    if not task.open:
        return [ended(task)]
    known = reasons.plan.tasks.get(task.id, task)  # of a later position than a row of the views
    found = (_of_slot(reasons, known, index, now) for index in range(len(known.slots)))
    return [one for one in found if one is not None]


def chain(reasons: Reasons, task: Task, now: int) -> Iterator[Chain]:
    """A task with its explanation, and behind it the task that it waits for, and so on, to what keeps them all."""
    seen: set[str] = set()
    current: Task | None = task
    while current is not None and current.id not in seen and len(seen) < DEEP_MAX:
        seen.add(current.id)
        told = explained(reasons, current, now)
        yield current.id, told
        waits = any(one.reason == "dependency" for one in told)
        named = (reasons.plan.tasks.get(name) for name in current.depends_on) if waits else iter(())
        current = next((one for one in named if one is not None and one.open), None)


def _of_slot(reasons: Reasons, task: Task, index: int, now: int) -> Explained | None:
    slot = task.slots[index]
    target = shown_agent(slot.target)
    if slot.status == "ended":
        return None
    if slot.status == "running":
        why, since = _of_run(reasons, task, slot), slot.runs[-1].started_at
        if why == RUNS:
            run = slot.runs[-1]
            told = f"run {run.id} of agent {shown_agent(run.agent)} is on, on node {run.node}"
            return Explained(index, target, "running", told, since, "", False)
        return Explained(index, target, why.reason, why.text, max(since, why.since), why.way)
    why = reasons.of(task, index, now)
    return Explained(index, target, why.reason, why.text, max(_since(reasons, task, index, now), why.since), why.way)


def _of_run(reasons: Reasons, task: Task, slot: Slot) -> Why:
    """What a run that is on waits for; RUNS for nothing."""
    run, plan = slot.runs[-1], reasons.plan
    gone = stranded(run, plan.nodes)
    if gone != RUNS:
        gone = gone._replace(since=reasons.around.since.get(run.agent, gone.since))
        return gone._replace(reason="node_down") if run.agent in VIRTUAL else gone
    if run.node in plan.crew.still:
        snapshot = plan.crew.still[run.node]
        return Why("node", f"node {run.node} holds still for snapshot {snapshot}", "node_still", snapshot)
    node = run.node or ""
    if node in reasons.around.silent:
        return Why("node", f"node {node}, where run {run.id} is, and which is silent", "node_silent", node)
    asked = next((one for one in run.permissions if one.is_open), None)
    if asked is not None and task.cancel is None:
        return Why("agent", words_of(asked), "permission", task.id, since=asked.asked_at)
    if task.cancel is not None:
        return Why("start", f"run {run.id} to end, as the task was cancelled", "cancelling", run.id)
    return RUNS


def _since(reasons: Reasons, task: Task, index: int, now: int) -> int:
    """Since when a slot waits. The census may have a retry whose time has come as one that waits for it still."""
    slot = task.slots[index]
    since = reasons.plan.census.since(task.id, index)
    if slot.status == "released":
        return slot.runs[-1].released_at
    ready_at = slot.retry_at if slot.retry_at <= now else 0
    return max(since or task.retried_at or task.dispatched_at, ready_at)


def ended(task: Task, gone: Collection[str] = ()) -> Explained:
    """How a task has ended, and what would try it again. gone: tasks that nothing tries again any more."""
    reason = task.outcome if task.outcome in ("parked", "budget") else task.status
    told = task.reason or task.status
    return Explained(0, "", reason, told, task.finished_at, _again(task, gone), False)


def skipped_for(task: Task) -> str:
    """The task for which one was skipped; "" where it was not."""
    if task.status != "skipped" or task.workflow:
        return ""
    return next((name for name in task.depends_on if name in task.reason), task.id)


def _again(task: Task, gone: Collection[str]) -> str:
    """What would try a task again that has ended; "" for one that has completed."""
    if task.status == "completed":
        return ""
    if task.workflow:
        return f"maestro workflow status {task.workflow} shows its run, which decides on more"
    if task.status == "skipped":
        first = skipped_for(task)
        if first in gone:
            return f"a new dispatch of both: maestro task dispatch; task {first} is history, which nothing tries again"
        return f"maestro task retry {first} --with-dependants"
    if task.outcome == "budget":
        if spent_its_own(task):
            return f"maestro task retry {task.id} --budget-cost N (or --budget-tokens N)"
        return f"{limit_raised(task)}, then: maestro task retry {task.id}"
    return f"maestro task retry {task.id}"


def spent_its_own(task: Task) -> bool:
    """Whether the runs of a task have used more than its own budget, not only more than one of its agent's type."""
    runs = [run for slot in task.slots for run in slot.tries]
    tokens, cost = sum(run.input_tokens + run.output_tokens for run in runs), sum(run.cost for run in runs)
    is_over_tokens = task.budget_tokens is not None and tokens > task.budget_tokens
    return is_over_tokens or (task.budget_cost is not None and cost > task.budget_cost)


def limit_raised(task: Task) -> str:
    """How the limit of the agent's type is raised that ended a run of this task, in words; as the run's end has it."""
    told = next((run.evidence for slot in task.slots for run in reversed(slot.runs) if run.outcome == "budget"), "")
    named = (told or "").partition("to raise it: ")[2].partition("\n")[0]
    return named or "raise `budget` in the YAML of the agent's type, then `maestro agent register TYPE`"


def why_not_over(task: Task | None, nodes: Mapping[str, Node], leased: Collection[str]) -> str:
    """What the end of a task's first live run waits for, in words; "" where none is on. leased: nodes that answer."""
    run = next((slot.live for slot in task.slots if slot.live is not None), None) if task is not None else None
    if run is None:
        return ""
    node = nodes.get(run.node or "")
    if node is None:
        return f"run {run.id}, which no node has taken"
    told = f"run {run.id} on node {node.id}"
    if node.status == "lost":
        return f"{told}, which is lost"
    return told if node.id in leased else f"{told}, which is silent and is taken for lost soon"


def stranded(run: Run | None, nodes: Mapping[str, Node]) -> Why:
    """What a run that is on waits for: its node, where that is lost; RUNS for nothing."""
    node = None if run is None or run.status != "running" else nodes.get(run.node or "")
    if run is None or node is None or node.status != "lost":
        return RUNS
    told = f"node {node.id}, which is lost"
    why = Why("node", told, "node_lost", node.id, run.agent, node.changed_at, drained_too(node))
    return why._replace(text=f"{why.text}; {why.way}")
