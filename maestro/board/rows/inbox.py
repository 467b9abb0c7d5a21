"""The inbox: what waits for a person at a position, each with the acts that settle it.

Acts are told of the newest position only: nothing can be done to the past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from maestro.board.rows.past_context import PastContext, answered
from maestro.model.errors import MaestroError
from maestro.model.scheduling.explanation import ended
from maestro.model.task import Run, Task
from maestro.model.workflow.instances import instance_id
from maestro.model.workflow.run import Run as WorkflowRun
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import when
from projections.view_reader import ALL

FAILED_MAX: Final = 100
"""So many of the newest failures of a kind."""
PROMPTS_MAX: Final = 100
"""Of so many runs that ask it is read what they ask."""
FAILED: Final = ("failed", "timed_out")
KINDS: Final = ("approval", "permission", "budget", "parked", "unhealthy", "failed")

Row = dict[str, Any]


def inbox(context: PastContext) -> Row:
    """What waits for a person: {items, counts}, what is more urgent first, of one kind what waits longest or is newest.

    counts: by kind, with 0 for none.
    """
    items = [*_approvals(context), *_permissions(context), *_budgets(context), *_unhealthy(context), *_failed(context)]
    items.sort(key=lambda item: KINDS.index(item["kind"]))
    if context.is_past:
        items = [{**item, "acts": []} for item in items]
    return {"items": items, "counts": dict.fromkeys(KINDS, 0) | Counter(item["kind"] for item in items)}


def _approvals(context: PastContext) -> Iterator[Row]:
    for number, header in enumerate(context.views.runs_asking().rows):
        whole = _whole(context, header) if number < PROMPTS_MAX else None
        for step, since in header.asking.items():
            named = {"run": header.id, "step": step}
            prompt = "" if whole is None else _prompt(whole, step)
            why = f"step {step} of workflow {header.workflow} asks for an approval"
            acts = [_act("approve", "Approve", named), _act("reject", "Reject", named)]
            item = _item("approval", f"{header.id}:{step}", prompt or step, why, since)
            yield {**item, "workflow_run": header.id, "acts": acts}


def _whole(context: PastContext, header: RunHeader) -> WorkflowRun | None:
    try:
        return read_run(context.store, header)[0]
    except MaestroError:  # that something of one run is gone hides the others from nobody
        return None


def _prompt(run: WorkflowRun, step: str) -> str:
    activation = run.current.get(step)
    asking = None if activation is None else run.instances.get(instance_id(step, activation.round))
    return (asking.approval or "") if asking is not None else ""


def _permissions(context: PastContext) -> Iterator[Row]:
    found: list[tuple[int, Row]] = []
    for task in context.views.queue("processing", limit=ALL).rows:
        for run in (slot.live for slot in task.slots):
            found += [] if run is None else _asked(task, run)
    yield from (item for _, item in sorted(found, key=lambda pair: pair[0]))


def _asked(task: Task, run: Run) -> Iterator[tuple[int, Row]]:
    for one in run.permissions:
        if one.is_open:
            named = {"task": task.id, "number": one.number}
            acts = [_act("answer", each.name, {**named, "answer": each.id}) for each in one.options]
            why = f"agent {run.agent} asks whether it may use {one.tool}" if one.tool else f"agent {run.agent} asks"
            item = _item("permission", f"{task.id}:{one.number}", one.title, why, one.asked_at)
            yield one.asked_at, {**item, "agent": run.agent, "task": task.id, "run": run.id, "acts": acts}


def _budgets(context: PastContext) -> Iterator[Row]:
    for header in context.views.workflow_runs("open", ALL, False).rows:
        if header.paused == "budget":
            acts = [_act("cancel", "Stop the run", {"workflow_run": header.id})]
            item = _item("budget", header.id, header.workflow, "the run is over its budget", header.started_at)
            yield {**item, "workflow_run": header.id, "acts": acts}


def _unhealthy(context: PastContext) -> Iterator[Row]:
    rows, _ = answered(context, p.AgentList(status="failed"))
    for row in rows:
        item = _item("unhealthy", row["id"], row["id"], row["reason"] or "it is unhealthy", 0)
        yield {**item, "agent": row["id"], "task": row["task"]}


def _failed(context: PastContext) -> Iterator[Row]:
    """Tasks and runs of workflows that failed, the newest; tasks lost too often, or over their budget, too."""
    views = context.views
    tasks: Sequence[Task] = [row for status in FAILED for row in views.tasks(status=status, limit=FAILED_MAX).rows]
    for task in sorted(tasks, key=lambda row: -row.finished_at):
        kind = task.outcome if task.outcome in ("parked", "budget") else "failed"
        why = task.reason or (task.outcome or task.status)
        last = next((slot.runs[-1] for slot in task.slots if slot.runs), None)
        item = _item(kind, task.id, task.title, why, task.finished_at)
        agent, run = (None, None) if last is None else (last.agent, last.id)
        acts = [_act("retry", "Try again", {"task": task.id})]
        if kind == "budget":  # a plain retry of these ends over the same budget again
            acts, why = [], f"{why}; to go on: {ended(task).way}"
        yield {**item, "agent": agent, "task": task.id, "run": run, "acts": acts}
    headers = [row for status in FAILED for row in views.workflow_runs(f"status:{status}", FAILED_MAX).rows]
    for header in sorted(headers, key=lambda row: -row.ended_at):
        why = header.why or header.outcome or header.status
        again = f"maestro workflow run {header.workflow} --resume-from failed --run {header.id}"
        item = _item(
            "failed", header.id, header.workflow, f"{why}; to go on from what failed: {again}", header.ended_at
        )
        yield {**item, "workflow_run": header.id}


def _item(kind: str, name: str, title: str, why: str, since: int) -> Row:
    item = {"kind": kind, "id": name, "title": title, "why": why, "since": when(since)}
    return {**item, "agent": None, "task": None, "run": None, "workflow_run": None, "acts": []}


def _act(action: str, label: str, arguments: Row) -> Row:
    return {"action": action, "label": label, "arguments": arguments}
