"""The spans of workflows: one for each run of a workflow, and below it one for each instance of a step."""

from __future__ import annotations

from maestro.model import events as e
from maestro.model.events import Event
from maestro.model.tracing import conventions as c
from maestro.model.tracing.identity import span_id, trace_id
from maestro.model.tracing.run_spans import QUIET
from maestro.model.tracing.span import Attributes, OpenSpan, Span
from maestro.model.workflow.instances import instance_id

_MARKS: dict[type[e.AnyFact], str] = {
    e.WorkflowRunAdmitted: "run.admitted",
    e.WorkflowRunPaused: "run.paused",
    e.WorkflowRunResumed: "run.resumed",
    e.WorkflowRunEnding: "run.ending",
    e.HandlerCalled: "handler.called",
    e.LoopTurned: "loop.turned",
    e.StepApproved: "approval.answered",
    e.WorkspaceArchived: "workspace.archived",
    e.WorkspaceReturned: "workspace.returned",
}


def failure(status: str, outcome: str) -> str:
    """Why something counts as failed, "" where it does not."""
    return "" if status in ("completed", "cancelled", "skipped") or outcome in QUIET else outcome or status


class WorkflowSpans:
    """The runs of workflows that are on (`runs`), and the instances of their steps (`steps`, by run and instance)."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.runs: dict[str, OpenSpan] = {}
        self.steps: dict[tuple[str, str], OpenSpan] = {}

    def step_id(self, run: str, instance: str) -> str:
        """The span of an instance."""
        return span_id(self._namespace, "step", run, instance)

    def trace_of(self, run: str) -> str:
        """The trace that an open run is part of, "" where it is not known."""
        span = self.runs.get(run)
        return span.trace if span is not None else ""

    def take(self, event: Event) -> list[Span]:
        """Fold an event; the spans that end with it."""
        fact = event.fact
        match fact:
            case e.WorkflowRunStarted():
                self._begin(event, fact)
            case e.StepReadied(verdict="skip"):
                if (run := self.runs.get(fact.run)) is not None:
                    run.mark("step.skipped", event.at, step=instance_id(fact.step, fact.round))
            case e.StepReadied(approval=str()):
                self._open(event, fact.run, instance_id(fact.step, fact.round)).mark("approval.asked", event.at)
            case e.StepStarted():
                step = self._open(event, fact.run, fact.instance)
                step.mark("attempt.started", event.at, attempt=fact.attempt, agent=fact.agent, child=fact.child)
            case e.StepEnded():
                return self._step_ended(event, fact)
            case e.WorkflowRunFinished():
                return self._finished(event, fact)
            case _ if fact.__class__ in _MARKS:
                self._mark(event, _MARKS[fact.__class__])
        return []

    def _begin(self, event: Event, fact: e.WorkflowRunStarted) -> None:
        about: Attributes = {
            c.OPERATION: c.INVOKE_WORKFLOW,
            c.WORKFLOW: fact.workflow,
            c.WORKFLOW_RUN: fact.run,
            c.WORKFLOW_VERSION: fact.version,
        }
        if fact.resumed_from:
            about[c.RESUMED_FROM] = fact.resumed_from
        above = self.trace_of(fact.parent)
        trace = above or trace_id(self._namespace, fact.root or fact.run)
        parent = self.step_id(fact.parent, fact.instance) if fact.parent else ""
        id = span_id(self._namespace, "workflow-run", fact.run)
        name = f"{c.INVOKE_WORKFLOW} {fact.workflow}"
        self.runs[fact.run] = OpenSpan(trace, id, parent, name, event.at, event.seq, about)

    def _open(self, event: Event, run: str, instance: str) -> OpenSpan:
        """The span of an instance, begun by the event where it was not yet."""
        known = self.steps.get((run, instance))
        if known is not None:
            return known
        above = self.runs.get(run)
        made = OpenSpan(
            above.trace if above is not None else "",
            self.step_id(run, instance),
            above.id if above is not None else "",
            f"step {instance}",
            event.at,
            event.seq,
            {c.STEP: instance, c.WORKFLOW_RUN: run},
        )
        if above is not None:  # else the run began before what is read, and its trace is not known
            self.steps[run, instance] = made
        return made

    def _step_ended(self, event: Event, fact: e.StepEnded) -> list[Span]:
        if fact.next:
            if step := self.steps.get((fact.run, fact.instance)):
                step.mark("attempt.ended", event.at, status=fact.status, outcome=fact.outcome, next=fact.next)
            return []
        above = self.runs.get(fact.run)
        if above is None:
            return []
        if fact.status == "skipped" and (fact.run, fact.instance) not in self.steps:
            above.mark("step.skipped", event.at, step=fact.instance)
            return []
        step = self._open(event, fact.run, fact.instance)
        del self.steps[fact.run, fact.instance]
        error = failure(fact.status, fact.outcome)
        return [step.ended(event.at, error, status=fact.status, outcome=fact.outcome, exit_code=fact.exit_code)]

    def _finished(self, event: Event, fact: e.WorkflowRunFinished) -> list[Span]:
        run = self.runs.pop(fact.run, None)
        if run is None:
            return []
        left = [key for key in self.steps if key[0] == fact.run]
        ended = [self.steps.pop(key).ended(event.at, status="cancelled") for key in left]
        error = failure(fact.status, fact.outcome)
        return [*ended, run.ended(event.at, error, status=fact.status, outcome=fact.outcome)]

    def _mark(self, event: Event, name: str) -> None:
        """Note what happens on the instance that it is about, else on its run. What it says in words is left out."""
        fact = event.fact
        run, instance = str(getattr(fact, "run", "")), str(getattr(fact, "instance", ""))
        span = self.steps.get((run, instance)) or self.runs.get(run)
        if span is None:
            return
        about = {key: str(getattr(fact, key, "")) for key in ("step", "status", "outcome", "snapshot")}
        if isinstance(fact, e.StepApproved):
            about["answer"] = "timed_out" if fact.timed_out else "approved" if fact.approved else "rejected"
        span.mark(name, event.at, **about)
