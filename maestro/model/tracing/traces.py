"""Traces: folds the log into spans, in which nothing is said of what a prompt or an answer says.

    run of a workflow ─► step (an instance) ─► run (an attempt of an agent)
                                           └─► run of a child ─► …
    task ─► run (of a task that is no step)

A span is told when it has ended, so that whoever reads the log from `begins` on, and tells those only that end behind
a position, tells each span that ends there, with its beginning.
"""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.events import FACTS, NAMES, VERSIONS, AnyFact, Event
from maestro.model.tracing import conventions as c
from maestro.model.tracing.identity import order_of, span_id, trace_id
from maestro.model.tracing.run_spans import Place, RunSpans
from maestro.model.tracing.span import OpenSpan, Span
from maestro.model.tracing.workflow_spans import WorkflowSpans, failure

KNOWN_MAX = 10_000
"""How many tasks that have ended are known, for those that are retried, or that a restore opens again."""
_CONCERN: tuple[type[AnyFact], ...] = (
    *(e.TaskDispatched, e.TaskCancelRequested, e.TaskRetried, e.TaskFinished),
    *(e.RunReleased, e.RunStarted, e.RunSessionOpened, e.RunUsageReported, e.RunEnded, e.RunParked),
    *(e.WorkflowRunStarted, e.WorkflowRunAdmitted, e.WorkflowRunPaused, e.WorkflowRunResumed, e.WorkflowRunEnding),
    *(e.WorkflowRunFinished, e.StepReadied, e.StepApproved, e.StepStarted, e.StepEnded, e.LoopTurned, e.HandlerCalled),
    *(e.WorkspaceArchived, e.WorkspaceReturned, e.RestoreDone),
)
TYPES = frozenset(NAMES[fact] for fact in _CONCERN)
"""The types of events that spans are made of; all others may be passed over."""


def event_of(row: dict[str, Any]) -> Event | None:
    """An event as `maestro events` shows it; None for one that is of no concern here, damaged, or of a later build."""
    kind = row.get("type")
    if kind not in TYPES or row.get("v", 1) > VERSIONS.get(kind, 1):
        return None
    try:
        fact = msgspec.convert(row.get("data"), FACTS[kind])
        return Event(row["seq"], row["subject"], row["at"], row["actor"], row["cause"], row["prev"], fact)
    except (msgspec.ValidationError, KeyError):
        return None


class Traces:
    """The spans that have begun and not ended. incomplete: how many ended that began before what was folded."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._tasks: dict[str, OpenSpan] = {}
        self._places: dict[str, Place] = {}
        self._known: dict[str, Place] = {}
        self._runs = RunSpans(namespace)
        self._workflows = WorkflowSpans(namespace)
        self.incomplete = 0

    @property
    def open(self) -> int:
        """How many spans have begun and not ended."""
        return len(self._tasks) + len(self._runs.open) + len(self._workflows.runs) + len(self._workflows.steps)

    @property
    def begins(self) -> int | None:
        """The position of the first event that what is open is made of, None where nothing is open."""
        groups = (self._places, self._tasks, self._runs.open, self._workflows.runs, self._workflows.steps)
        return min((one.opened for group in groups for one in group.values()), default=None)

    def take(self, event: Event) -> list[Span]:
        """Fold an event, which comes behind all before it; the spans that end with it."""
        match event.fact:
            case e.RestoreDone() as fact:
                return self._restored(event, fact.to)
            case e.TaskDispatched() | e.TaskCancelRequested() | e.TaskRetried() | e.TaskFinished() as fact:
                return self._task(event, fact)
            case e.RunReleased() as fact:
                if (place := self._place(event, fact.task)) is not None:
                    self._runs.release(event, fact, place)
            case e.RunStarted() as fact:
                self._runs.start(event, fact)
            case e.RunSessionOpened() | e.RunUsageReported() as fact:
                self._runs.note(fact)
            case e.RunParked() as fact:
                if (span := self._tasks.get(fact.task)) is not None:
                    span.mark("run.parked", event.at, losses=fact.losses)
            case e.RunEnded() as fact:
                return self._run_ended(event, fact)
            case e.WorkflowRunFinished() as fact if fact.run not in self._workflows.runs:
                self.incomplete += 1
            case _:
                return self._workflows.take(event)
        return []

    def _run_ended(self, event: Event, fact: e.RunEnded) -> list[Span]:
        span = self._runs.end(event, fact)
        if span is None and fact.task not in self._places and fact.task not in self._known:
            self.incomplete += 1
        return [span] if span is not None else []

    # ---- tasks ----

    def _task(
        self, event: Event, fact: e.TaskDispatched | e.TaskCancelRequested | e.TaskRetried | e.TaskFinished
    ) -> list[Span]:
        match fact:
            case e.TaskDispatched():
                self._dispatched(event, fact)
            case e.TaskRetried():
                self._known.setdefault(fact.task, Place(trace_id(self._namespace, fact.task), ""))
                self._reopen(event, fact.task)
            case e.TaskCancelRequested():
                if (span := self._tasks.get(fact.task)) is not None:
                    span.mark("task.cancel_requested", event.at)
            case e.TaskFinished():
                return self._finished(event, fact)
        return []

    def _dispatched(self, event: Event, fact: e.TaskDispatched) -> None:
        trace = self._workflows.trace_of(fact.workflow) or trace_id(self._namespace, order_of(fact))
        if fact.workflow:
            parent = self._workflows.step_id(fact.workflow, fact.step)
            self._places[fact.task] = Place(trace, parent, event.seq, fact.command)
        else:
            self._open(event, fact.task, trace)

    def _open(self, event: Event, task: str, trace: str) -> None:
        id = span_id(self._namespace, "task", task, str(event.seq))
        self._tasks[task] = OpenSpan(trace, id, "", "task", event.at, event.seq, {c.TASK: task})
        self._places[task] = Place(trace, id, event.seq)

    def _reopen(self, event: Event, task: str) -> None:
        """Begin a task that has ended anew, as it is retried, or as a restore made it one that has not ended."""
        place = self._known.pop(task)
        if place.parent:
            self._places[task] = msgspec.structs.replace(place, opened=event.seq)
        else:
            self._open(event, task, place.trace)

    def _place(self, event: Event, task: str) -> Place | None:
        """Where the runs of a task belong, None where it began before what was folded."""
        if task not in self._places and task in self._known:
            self._reopen(event, task)
        return self._places.get(task)

    def _finished(self, event: Event, fact: e.TaskFinished) -> list[Span]:
        place = self._places.pop(fact.task, None)
        span = self._tasks.pop(fact.task, None)
        if place is None:
            self.incomplete += fact.task not in self._known
            return []
        self._keep(fact.task, place, span is not None)
        if span is None:
            return []
        error = failure(fact.status, fact.outcome)
        return [span.ended(event.at, error, status=fact.status, outcome=fact.outcome, exit_code=fact.exit_code)]

    def _keep(self, task: str, place: Place, plain: bool) -> None:
        """Know a task that has ended. plain: it is no step, so that a span of its own is above its runs."""
        self._known[task] = Place(place.trace, "" if plain else place.parent, 0, place.command)
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    # ---- restores ----

    def _restored(self, event: Event, to: int) -> list[Span]:
        """End what began behind the position that a restore went back to: it has not happened."""
        ended: list[Span] = []
        groups: tuple[dict[Any, OpenSpan], ...] = (
            self._runs.open,
            self._tasks,
            self._workflows.steps,
            self._workflows.runs,
        )
        for group in groups:
            undone = sorted((span.opened, key) for key, span in group.items() if span.opened > to)
            ended += [group.pop(key).ended(event.at, outcome="restored") for _, key in undone]
        for task in [task for task, place in self._places.items() if place.opened > to]:
            del self._places[task]
        return ended
