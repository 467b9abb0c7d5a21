"""A task: one prompt for one or more targets, each target a slot, each attempt at a slot a run.

Three small machines, one inside the other. `RUN_MOVES` and `TASK_MOVES` are the whole of two of them: a fact that has
no entry there leaves the status as it is.

A *run* is released by the scheduler, started by a worker, ended by whoever appends its one terminal event first: the
worker, or the scheduler when the run was cancelled before it started or its node was lost. All three events stand
under the run's own version, so that the log itself refuses a second start or end.

A *slot* is what a target owes the task. It waits (for a dependency, its agent, a place, a retry time), has a run
released or running, and ends with the run whose outcome is final. `_goes_on` says which are not: a loss (up to
`LOSSES_MAX` times, then the scheduler parks it), an agent's failure while `retries` last, and one that a pool may
take elsewhere. A run withdrawn before it started was no try and counts as neither.

A *task* is queued until its first run starts, running until all slots have ended and the scheduler has appended
`task.finished`, which also settles the tasks that depend on it. Only `task.retried` opens it again.

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
    Text,
)
from maestro.model.outcome import FINISHED, MOVES_ON, RETRIED

LEVEL_MS: Final = 600_000
PRIORITY_DEFAULT: Final = 3

RUN_MOVES: Final[dict[str, dict[type[AnyFact], str]]] = {
    "released": {RunStarted: "running", RunEnded: "ended"},
    "running": {RunEnded: "ended"},
    "ended": {},
}

TASK_MOVES: Final[dict[str, dict[type[AnyFact], str]]] = {
    "queued": {RunStarted: "running", TaskFinished: "finished"},
    "running": {TaskFinished: "finished"},
    "finished": {TaskRetried: "queued"},
}
"""`finished` stands for the status that `task.finished` names: completed, failed, cancelled, timed_out or skipped."""


class Run(msgspec.Struct, omit_defaults=True, gc=False):
    """One attempt. token: seq of its `run.released`. version: seq of its last event.

    status: released, running or ended. Times in server ms, 0 for not yet.
    """

    id: str
    attempt: int
    agent: str
    node: str | None
    token: int
    version: int
    status: str = "released"
    outcome: str = ""
    exit_code: int | None = None
    signal: int | None = None
    source: str = ""
    evidence: str = ""
    result: Text = ""
    session: str = ""
    folder: str = ""
    workspace: str = ""
    released_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    duration_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    timeout_s: float = 0.0
    shared: bool = False
    cached_tokens: int = 0


class Slot(msgspec.Struct, omit_defaults=True, gc=False):
    """One target of a task.

    status: waiting (for a dependency, its agent, a free place, a retry time), released, running or ended.
    losses: runs ended `lost`; failures: runs that failed by the agent; both since the last `task.retried`.
    earlier: how many of the runs are older than that.
    """

    target: str
    status: str = "waiting"
    retry_at: int = 0
    losses: int = 0
    failures: int = 0
    outcome: str = ""
    runs: list[Run] = []
    earlier: int = 0

    @property
    def pool(self) -> bool:
        """Whether the target is a pool, so that each attempt may have another agent."""
        return ":" in self.target

    @property
    def tries(self) -> list[Run]:
        """The runs since the task was dispatched or last retried."""
        return self.runs[self.earlier :]

    @property
    def resumable(self) -> Run | None:
        """The last run before these tries that told its agent's session: what `resumes` goes on with."""
        return next((run for run in reversed(self.runs[: self.earlier]) if run.session), None)

    @property
    def live(self) -> Run | None:
        """The run that is released or running."""
        return self.runs[-1] if self.status in ("released", "running") else None


class Task(msgspec.Struct, omit_defaults=True, gc=False):
    """The row of the views `tasks` and (while it is open) `queue`. version: seq of its last own event.

    status: queued, running, completed, failed, cancelled, timed_out or skipped. cancel: the reason of a cancel
    request, None without one. position: seq of its `task.dispatched`, where the prompt is. retried_at: when it was
    last retried, 0 for never; resumes: so that the agents go on with their sessions. budget_*: for its tries together.
    """

    id: str
    version: int
    position: int
    title: str
    status: str
    slots: list[Slot]
    dispatched_at: int
    actor: str
    depends_on: list[str] = []
    priority: int | None = None
    timeout_s: float | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    forced: bool = False
    on_lost: str = "retry"
    cancel: str | None = None
    outcome: str = ""
    exit_code: int | None = None
    source: str = ""
    reason: str = ""
    started_at: int = 0
    finished_at: int = 0
    retried_at: int = 0
    resumes: bool = False
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None

    @property
    def open(self) -> bool:
        """Whether it is queued or running."""
        return self.status not in FINISHED

    @property
    def begun(self) -> bool:
        """Whether it had a run since it was dispatched or last retried: then no dependency holds it any more."""
        return any(len(slot.runs) > slot.earlier for slot in self.slots)

    def order_key(self, agent_priority: int = PRIORITY_DEFAULT) -> int:
        """Its place among what is ready: smaller goes first. agent_priority counts where the task has none."""
        priority = agent_priority if self.priority is None else self.priority
        return priority * LEVEL_MS + (self.retried_at or self.dispatched_at)


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
    """A new task."""
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
    if outcome == "lost" and run.started_at:
        slot.losses += 1
    elif outcome in RETRIED:
        slot.failures += 1
    if outcome != "ok" and _goes_on(row, slot, run):
        slot.status, slot.retry_at = "waiting", fact.retry_at or event.at
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


def _goes_on(row: Task, slot: Slot, run: Run) -> bool:
    """Whether the slot waits for another run. Where losses or a pool's agents are used up the scheduler parks it."""
    if row.cancel is not None:
        return False
    if run.outcome == "lost":
        return row.on_lost != "fail" or not run.started_at
    if run.outcome in MOVES_ON and slot.pool:
        return True
    return run.outcome in RETRIED and slot.failures <= row.retries


def _finished(row: Task, fact: TaskFinished, event: Event) -> None:
    if not row.open:
        return
    row.version, row.status, row.outcome, row.finished_at = event.seq, fact.status, fact.outcome, event.at
    row.exit_code, row.source, row.reason = fact.exit_code, fact.source, fact.reason
    _end_waiting(row, fact.outcome)


def _cancel_requested(row: Task, fact: TaskCancelRequested, event: Event) -> None:
    row.version, row.cancel = event.seq, fact.reason
    _end_waiting(row, "cancelled")


def _end_waiting(row: Task, outcome: str) -> None:
    for slot in row.slots:
        if slot.status == "waiting":
            slot.status, slot.retry_at, slot.outcome = "ended", 0, outcome


def _retried(row: Task, fact: TaskRetried, event: Event) -> None:
    if row.open:
        return
    row.resumes = fact.resume
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
}
"""What each fact does to the task that it is about. A table, as a replay folds hundreds of thousands in a second."""
