"""What events tell that is an alert by itself (a task failed, a snapshot failed), and what ends such an alert. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from maestro.model import events as e
from maestro.model.coordination.missing_workspaces import ALLOW_MISSING
from maestro.model.events import AnyFact, Event
from maestro.model.monitoring.alert_rules import Condition, snapshot_command
from maestro.model.outcome import FINISHED
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader

FACTS: Final[tuple[type[AnyFact], ...]] = (
    *(e.TaskFinished, e.WorkflowRunFinished, e.SnapshotFailed, e.SnapshotTaken),
    *(e.ScheduleSkipped, e.ScheduleFired, e.ScheduleEnded, e.ScheduleRemoved),
    *(e.WebhookDisabled, e.WebhookConfigured),
)
"""The facts that begin or end an alert that tells of one event."""
OF_TASKS: Final = ("task_failed", "task_timed_out", "over_budget", "parked")
"""The alerts that tell how a task has ended."""
RESUMED_MAX: Final = 20
"""So far back the runs are looked for that a run was resumed from."""


class Ended(NamedTuple):
    """That an alert is over. since: it is over if what it tells of was before that, server ms; 0 for any."""

    alert: str
    how: str
    reason: str = ""
    since: int = 0


class Rows(NamedTuple):
    """What is known of the subjects of events: tasks, and runs of workflows with those that they were resumed from.

    node_of: by snapshot, where it lies.
    """

    tasks: Mapping[str, Task]
    runs: Mapping[str, RunHeader]
    node_of: Mapping[str, str]


def concerns(event: Event) -> bool:
    """Whether an event may begin or end an alert; most ends of tasks, which are good ones, end one at most."""
    return isinstance(event.fact, FACTS)


def told(event: Event, rows: Rows) -> Condition | None:
    """The alert that an event is, None for none: also where a restore has taken back what it tells of."""
    match event.fact:
        case e.TaskFinished() as fact:
            return _task(event, fact, rows.tasks.get(fact.task))
        case e.WorkflowRunFinished() as run:
            return _run(event, run, rows.runs.get(run.run))
        case e.SnapshotFailed(snapshot=snapshot, reason=reason):
            node = rows.node_of.get(snapshot, "")
            what, command = f"snapshot {snapshot} failed", snapshot_command(ALLOW_MISSING in reason)
            return _moment(event, Condition("snapshot_failed", node, what, reason, command=command, node=node))
        case e.ScheduleSkipped(schedule=schedule, missed=missed, why=why):
            return _missed(event, schedule, missed, why or "nobody was there for them")
        case e.ScheduleFired(schedule=schedule, missed=missed) if missed:
            return _missed(event, schedule, missed, "nobody was there for them; it has run once instead")
        case e.ScheduleEnded(schedule=schedule, ok=False, why=why):
            what, command = f"schedule {schedule} could not begin", f"maestro schedule run {schedule}"
            if ALLOW_MISSING in why:  # to run it again would fail again
                command = f"{snapshot_command(True)}   # and add {schedule} anew, with that option"
            return _moment(event, Condition("schedule_missed", schedule, what, why, command=command))
        case e.WebhookDisabled(endpoint=endpoint, reason=reason, asked=False):
            what, command = f"webhook {endpoint} gets nothing more", "maestro monitor start --alert-webhook URL"
            return _moment(event, Condition("webhook_disabled", endpoint, what, reason, command=command))
    return None


def over(event: Event, rows: Rows) -> Iterator[Ended]:
    """The alerts that an event ends, if they are open."""
    match event.fact:
        case e.TaskFinished(task=task, status=status) if status in ("completed", "cancelled", "skipped"):
            how, reason = ("recovered", "") if status == "completed" else ("gone", f"the task was {status}")
            yield from (Ended(f"{name}:{task}", how, reason) for name in OF_TASKS)
        case e.TaskFinished(task=task, outcome=outcome):
            reason = "it was tried again, and ended otherwise"
            yield from (Ended(f"{name}:{task}", "gone", reason) for name in OF_TASKS if name != _name_of(outcome))
        case e.WorkflowRunFinished(run=run, status="completed"):
            for earlier in _before(run, rows.runs):
                reason = f"run {run}, which was resumed from it, has completed"
                yield from (Ended(f"{name}:{earlier}", "recovered", reason) for name in OF_TASKS[:2])
        case e.SnapshotTaken(node=node):
            yield Ended(f"snapshot_failed:{node}", "recovered")
        case e.ScheduleEnded(schedule=schedule, ok=True, due=due):
            yield Ended(f"schedule_missed:{schedule}", "recovered", since=due)
        case e.ScheduleRemoved(schedule=schedule):
            yield Ended(f"schedule_missed:{schedule}", "gone", "the schedule was removed")
        case e.WebhookConfigured(endpoint=endpoint, works=False):
            yield Ended(f"webhook_disabled:{endpoint}", "recovered")
        case e.WebhookDisabled(endpoint=endpoint, asked=True):
            yield Ended(f"webhook_disabled:{endpoint}", "acknowledged")


def ended_unseen(alerts: Iterable[tuple[str, str]], rows: Rows) -> Iterator[Ended]:
    """Of open alerts (name, subject), those whose subject is gone, or went well: after a restore, which says no more.

    rows: of all tasks and runs of workflows that there are among the subjects.
    """
    for name, subject in alerts:
        alert = f"{name}:{subject}"
        if name in OF_TASKS:
            row = rows.tasks.get(subject) or rows.runs.get(subject)
            if row is None:
                yield Ended(alert, "gone", "a restore has taken it away")
            elif row.status == "completed":
                yield Ended(alert, "recovered")


def _task(event: Event, fact: e.TaskFinished, row: Task | None) -> Condition | None:
    if fact.status not in ("failed", "timed_out") or row is None or row.workflow:
        return None
    if row.version != event.seq or row.status not in FINISHED:
        return None  # it was retried, or taken back, since
    name = _name_of(fact.outcome)
    told = {"budget": "spent its budget", "parked": "was lost too often", "timeout": "ran out of time"}
    what = f"task {told.get(fact.outcome, 'failed')}: {row.title}"
    ran = next((slot.runs[-1] for slot in row.slots if slot.runs and slot.outcome == fact.outcome), None)
    why = fact.reason or (ran.evidence if ran is not None else "") or fact.outcome
    command = f"maestro task status {row.id}   # then: maestro task retry {row.id}"
    if fact.outcome == "budget":
        command = _with_budget(row)
    node = (ran.node or "") if ran is not None else ""
    return _moment(event, Condition(name, row.id, what, why, command=command, node=node))


def _name_of(outcome: str) -> str:
    return {"budget": "over_budget", "parked": "parked", "timeout": "task_timed_out"}.get(outcome, "task_failed")


def _with_budget(row: Task) -> str:
    """What helps a task that has spent a budget: its own made as large as is twice what it took, as a retry begins it
    anew; else what the run's end says of the type's, or of the disk.
    """
    runs = [run for slot in row.slots for run in slot.tries]
    tokens, cost = sum(run.input_tokens + run.output_tokens for run in runs), sum(run.cost for run in runs)
    larger = ""
    if row.budget_tokens is not None and tokens > row.budget_tokens:
        larger += f" --budget-tokens {2 * tokens}"
    if row.budget_cost is not None and cost > row.budget_cost:
        larger += f" --budget-cost {2 * cost:.2g}"
    if larger:
        return f"maestro task retry {row.id}{larger}"
    return (
        f"maestro task status {row.id}   # raise the limit that its evidence names, then: maestro task retry {row.id}"
    )


def _run(event: Event, fact: e.WorkflowRunFinished, row: RunHeader | None) -> Condition | None:
    if fact.status not in ("failed", "timed_out") or row is None or row.parent or row.seq != event.seq:
        return None
    name, told = ("task_failed", "failed") if fact.status == "failed" else ("task_timed_out", "ran out of time")
    again = f"maestro workflow run {row.workflow} --resume-from failed --run {row.id}"
    command = f"maestro workflow status {row.id}   # then: {again}"
    what = f"a run of workflow {row.workflow} {told}"
    return _moment(event, Condition(name, row.id, what, fact.why or row.why or fact.outcome, command=command))


def _missed(event: Event, schedule: str, missed: int, why: str) -> Condition:
    times = "1 due time" if missed == 1 else f"{missed} due times"
    what = f"schedule {schedule} has missed {times}"
    command = f"maestro schedule run {schedule}"
    return _moment(event, Condition("schedule_missed", schedule, what, why, command=command))


def _moment(event: Event, found: Condition) -> Condition:
    return Condition(
        found.name, found.subject, found.what, found.why, event.at, found.command, found.node, True, event.seq
    )


def _before(run: str, runs: Mapping[str, RunHeader]) -> Iterator[str]:
    for _ in range(RESUMED_MAX):
        row = runs.get(run)
        run = row.resumed_from if row is not None else ""
        if not run:
            return
        yield run
