"""A task: one prompt for one or more targets, each target a slot, each attempt at a slot a run.

Three small machines, one inside the other. `RUN_MOVES` and `TASK_MOVES` are the whole of two of them: a fact that has
no entry there leaves the status as it is.

A *run* is released by the scheduler, started by a worker, ended by whoever appends its one terminal event first: the
worker, or the scheduler when the run was cancelled before it started or its node was lost. All three events stand
under the run's own version, so that the log itself refuses a second start or end.

A *slot* is what a target owes the task. It waits (for a dependency, its agent, a place, a retry time), has a run
released or running, and ends with the run whose outcome is final. `_goes_on` says which are not: a loss (up to
`LOSSES_MAX` times, then the scheduler parks it), an agent's failure while `retries` last, and one that a pool may
take elsewhere. A run withdrawn before it started was no try and counts as neither, nor does one that ended with an
orderly restart of its daemon: there may be any number of those.

A *task* is queued until its first run starts, running until all slots have ended and the scheduler has appended
`task.finished`, which also settles the tasks that depend on it. Only `task.retried` opens it again. A loss is as if
the run had not been: a task of which nothing else is on or over is queued again, also where a restore has ended it.

The order of what is ready is one number, `order_key`, that never changes while a slot waits: ten minutes of waiting
count as one level of priority.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from maestro.model.events import (
    AnyFact,
    Event,
    RunEnded,
    RunParked,
    RunReleased,
    RunSessionOpened,
    RunStarted,
    RunUsageReported,
    TaskCancelRequested,
    TaskDispatched,
    TaskFinished,
    TaskRetried,
)
from maestro.model.facts.permission import TaskPermissionAnswered, TaskPermissionAsked
from maestro.model.outcome import LOSSES_MAX, MOVES_ON, RETRIED
from maestro.model.task_row import LEVEL_MS, OPEN_MAX, PRIORITY_DEFAULT, Permission, Run, Slot, Task

__all__ = [
    "CHANGES",
    "LEVEL_MS",
    "PRIORITY_DEFAULT",
    "RUN_MOVES",
    "TASK_MOVES",
    "Run",
    "Slot",
    "Task",
    "dispatched",
    "evolve",
]

RUN_MOVES: Final[dict[str, dict[type[AnyFact], str]]] = {
    "released": {RunStarted: "running", RunEnded: "ended"},
    "running": {RunEnded: "ended"},
    "ended": {},
}

TASK_MOVES: Final[dict[str, dict[type[AnyFact], str]]] = {
    "queued": {RunStarted: "running", TaskFinished: "finished"},
    "running": {TaskFinished: "finished", RunEnded: "queued"},
    "finished": {TaskRetried: "queued"},
}
"""`finished` stands for the status that `task.finished` names: completed, failed, cancelled, timed_out or skipped. An
end of a run queues the task again only where that was lost, and nothing else of the task is on or over."""


def evolve(row: Task | None, event: Event) -> Task | None:
    """The task after the event, changed in place. Facts that do not concern it leave it as it is."""
    fact = event.fact
    if isinstance(fact, TaskDispatched):
        return dispatched(fact, event)
    change = CHANGES.get(fact.__class__)
    if row is not None and change is not None:
        change(row, fact, event)
    return row


def dispatched(fact: TaskDispatched, event: Event) -> Task:
    """The task that a dispatch makes."""
    return Task(
        fact.task,
        event.seq,
        event.seq,
        fact.title,
        "queued",
        [Slot(target) for target in fact.targets],
        event.at,
        event.actor,
        list(fact.depends_on),
        fact.priority,
        fact.timeout_s,
        fact.retries,
        fact.key,
        fact.trace,
        fact.forced,
        fact.on_lost,
        verify=fact.verify,
        budget_tokens=fact.budget_tokens,
        budget_cost=fact.budget_cost,
        workflow=fact.workflow,
        step=fact.step,
        place=fact.place,
        node=fact.node,
        folder=fact.folder,
        alone=fact.alone,
    )


def _released(row: Task, fact: RunReleased, event: Event) -> None:
    if fact.slot >= len(row.slots):
        return
    slot = row.slots[fact.slot]
    run = Run(fact.run, fact.attempt, fact.agent, fact.node, event.seq, event.seq)
    run.released_at, run.timeout_s, run.shared = event.at, fact.timeout_s, fact.shared
    slot.runs.append(run)
    slot.status, slot.outcome, slot.retry_at = "released", "", 0


RunFact = RunStarted | RunEnded | RunSessionOpened | RunUsageReported | RunParked


def _last_of(row: Task, fact: RunFact) -> Slot | None:
    """The slot whose last run the fact is about; an older run's facts change nothing."""
    for slot in row.slots:
        if slot.runs and slot.runs[-1].id == fact.run:
            return slot
    return None


def _started(row: Task, fact: RunStarted, event: Event) -> None:
    slot = _last_of(row, fact)
    if slot is None:
        return
    run = slot.runs[-1]
    run.version = event.seq
    status = RUN_MOVES[run.status].get(RunStarted)
    if status is None:
        return
    run.status = slot.status = status
    run.node, run.folder, run.workspace, run.started_at = fact.node, fact.folder, fact.workspace, event.at
    if row.status in TASK_MOVES:
        row.status = TASK_MOVES[row.status].get(RunStarted, row.status)
    row.started_at = row.started_at or event.at


def _ended(row: Task, fact: RunEnded, event: Event) -> None:
    slot = _last_of(row, fact)
    if slot is None:
        return
    run = slot.runs[-1]
    run.version = event.seq
    status = RUN_MOVES[run.status].get(RunEnded)
    if status is None:
        return
    run.status, outcome = status, fact.outcome
    run.outcome, run.exit_code, run.signal, run.source = outcome, fact.exit_code, fact.signal, fact.source
    run.evidence, run.result, run.duration_ms, run.ended_at = fact.evidence, fact.result, fact.duration_ms, event.at
    run.restart = fact.restart
    if run.permissions:
        run.permissions = []
    if row.workflow:
        run.output, run.check, run.error, run.files = fact.output, fact.check, fact.error, fact.files
    if outcome == "ok":  # most end so; it is a loss in no way, and nothing follows
        slot.status, slot.retry_at, slot.outcome = "ended", 0, outcome
        return
    lost = run.was_lost
    if lost:
        slot.losses += 1
    elif outcome in RETRIED:
        slot.failures += 1
    if _goes_on(row, slot, outcome, lost):
        slot.status, slot.retry_at = "waiting", fact.retry_at or event.at
        if outcome == "lost" and row.status in TASK_MOVES and all(one.status == "waiting" for one in row.slots):
            row.status = TASK_MOVES[row.status].get(RunEnded, row.status)
    else:
        slot.status, slot.retry_at, slot.outcome = "ended", 0, outcome


def _session_opened(row: Task, fact: RunSessionOpened, event: Event) -> None:
    slot = _last_of(row, fact)
    if slot is not None:
        slot.runs[-1].version, slot.runs[-1].session = event.seq, fact.session


def _usage_reported(row: Task, fact: RunUsageReported, event: Event) -> None:
    slot = _last_of(row, fact)
    if slot is not None:
        run = slot.runs[-1]
        run.version = event.seq
        run.input_tokens += fact.input_tokens
        run.output_tokens += fact.output_tokens
        run.cost += fact.cost
        run.cached_tokens += fact.cached_tokens


def _parked(row: Task, fact: RunParked, event: Event) -> None:
    slot = _last_of(row, fact)
    if slot is not None:
        run = slot.runs[-1]
        run.version = event.seq
        slot.status, slot.retry_at = "ended", 0
        slot.outcome = "parked" if run.outcome == "lost" else run.outcome


def _goes_on(row: Task, slot: Slot, outcome: str, counts: bool) -> bool:
    """Whether a slot waits for another run. Where losses or a pool's agents are used up the scheduler parks it."""
    if row.cancel is not None:
        return False
    if outcome == "lost":
        return row.on_lost != "fail" or not counts
    if outcome in MOVES_ON and slot.pool:
        return True
    return outcome in RETRIED and slot.failures <= row.retries


def may_go_on(row: Task, name: str, outcome: str) -> bool:
    """Whether another run may follow the started run `name`, should that end so by a fault."""
    slot = next((slot for slot in row.slots if slot.runs and slot.runs[-1].id == name), None)
    if slot is None or (outcome == "lost" and slot.losses >= LOSSES_MAX):
        return False
    after = msgspec.structs.replace(slot, failures=slot.failures + (outcome in RETRIED))
    return _goes_on(row, after, outcome, counts=True)


def _finished(row: Task, fact: TaskFinished, event: Event) -> None:
    if not row.open:
        return
    row.version, row.status, row.outcome, row.finished_at = event.seq, fact.status, fact.outcome, event.at
    row.exit_code, row.source, row.reason = fact.exit_code, fact.source, fact.reason
    _end_waiting(row, fact.outcome)


def _cancel_requested(row: Task, fact: TaskCancelRequested, event: Event) -> None:
    row.version, row.cancel = event.seq, fact.reason
    _end_waiting(row, "cancelled")


def _permission_asked(row: Task, fact: TaskPermissionAsked, event: Event) -> None:
    row.version = event.seq
    run = row.live_run(fact.run)
    if run is not None:
        asked = Permission(fact.number, fact.title, fact.options, event.at, fact.tool, fact.until)
        answered = [one for one in run.permissions if not one.is_open][-OPEN_MAX:]
        run.permissions = [one for one in run.permissions if one.is_open or one in answered] + [asked]


def _permission_answered(row: Task, fact: TaskPermissionAnswered, event: Event) -> None:
    row.version = event.seq
    run = row.live_run(fact.run)
    for request in () if run is None else run.permissions:
        if request.number == fact.number and request.is_open:
            request.answer, request.option = fact.answer, fact.option


def _end_waiting(row: Task, outcome: str) -> None:
    for slot in row.slots:
        if slot.status == "waiting":
            slot.status, slot.retry_at, slot.outcome = "ended", 0, outcome


def _retried(row: Task, fact: TaskRetried, event: Event) -> None:
    if row.open:
        return
    row.resumes = fact.resume
    row.budget_tokens = row.budget_tokens if fact.budget_tokens is None else fact.budget_tokens
    row.budget_cost = row.budget_cost if fact.budget_cost is None else fact.budget_cost
    row.version, row.status, row.retried_at = event.seq, TASK_MOVES["finished"][TaskRetried], event.at
    row.cancel, row.exit_code, row.started_at, row.finished_at = None, None, 0, 0
    row.outcome = row.source = row.reason = ""
    for slot in row.slots:
        slot.status, slot.retry_at, slot.outcome, slot.losses, slot.failures = "waiting", 0, "", 0, 0
        slot.earlier = len(slot.runs)


CHANGES: Final[dict[type[AnyFact], Callable[[Task, Any, Event], None]]] = {
    RunReleased: _released,
    RunStarted: _started,
    RunEnded: _ended,
    RunSessionOpened: _session_opened,
    RunUsageReported: _usage_reported,
    RunParked: _parked,
    TaskFinished: _finished,
    TaskCancelRequested: _cancel_requested,
    TaskRetried: _retried,
    TaskPermissionAsked: _permission_asked,
    TaskPermissionAnswered: _permission_answered,
}
"""How each fact changes its task. A table, as a replay folds hundreds of thousands of events a second."""
