"""The run of a workflow as its facts make it: instances that only grow, and what follows from them, kept ready.

`apply` is the fold, `decide.py` says what comes next. Both take time linear in what changed, never in the run. A fact
that does not fit, as it was delivered twice or came too late, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from maestro.model.facts.workflow import (
    HandlerCalled,
    LoopTurned,
    StepApproved,
    StepEnded,
    StepReadied,
    StepStarted,
    WorkflowRunAdmitted,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunPaused,
    WorkflowRunResumed,
    WorkspaceArchived,
    WorkspaceArchiveWanted,
    WorkspaceRestoreWanted,
    WorkspaceReturned,
)
from maestro.model.workflow.folding.activations import Activations
from maestro.model.workflow.folding.run_state import Answer, Wish
from maestro.model.workflow.instances import Instance, instance_id, parse_instance

LINKS = frozenset({"spawn_error", "wrong_mode", "refused", "budget", "unhealthy", "parked"})
"""Outcomes after which a chain goes on with its next agent; no retry is spent on them."""


class Run(Activations):
    """One run. Built by `apply` from its facts, in order."""

    def apply(self, fact: Any, at: int, actor: str = "") -> None:
        """Fold the next fact of the run. at: its time, ms; actor: who appended it."""
        self._clock(at)
        if type(fact) is StepApproved:
            self._approved(fact, at, actor)
        else:
            _FOLDS[type(fact)](self, fact, at)
        self._tick(at)

    def previous(self, instance: Instance) -> StepEnded | None:
        """The last attempt of an instance, by the agent that works now; None in its first."""
        told = self.told.get(instance.id)
        return told if told is not None and told.next == "retry" else None

    def next_work(self, instance: Instance) -> Literal["archive", "restore", "start"]:
        """What is to be done for an instance that may go on: its workspace is archived and put back before it works."""
        step = self.steps[instance.step]
        if step.kind not in ("agent", "run"):
            return "start"
        goes_back = self.fact.restores and instance.id in self.fact.archives
        restores = step.retry.workspace == "restore"
        if (step.snapshot or restores or goes_back) and not instance.archived:
            return "archive"
        if instance.snapshot and ((restores and instance.dirty) or (goes_back and not instance.returned)):
            return "restore"
        return "start"

    # Facts of steps

    def _readied(self, fact: StepReadied, at: int) -> None:
        activation = self.current.get(fact.step)
        if activation is None or activation.round != fact.round or activation.status != "ready":
            return
        self.ready.pop(fact.step, None)
        if fact.verdict == "go" and fact.approval is None:
            self._open(fact, at)
            return
        instance = Instance(instance_id(fact.step, fact.round), fact.step, fact.round, since=at)
        self.instances[instance.id] = instance
        activation.total = 1
        if fact.verdict != "go":
            instance.outcome, instance.why = ("template", fact.why) if fact.verdict == "fail" else ("", fact.why)
            self._end(instance, "failed" if fact.verdict == "fail" else "skipped", at)
            return
        activation.status, activation.since = "approval", at
        instance.waiting_for, instance.approval, instance.until = "approval", fact.approval, fact.until
        self.asking[fact.step] = fact.until
        if fact.until:
            self.deadlines.set(fact.step, fact.until)
        self.asked[fact.step] = fact

    def _approved(self, fact: StepApproved, at: int, actor: str) -> None:
        parsed = parse_instance(fact.instance)
        if parsed is None or parsed[0] not in self.asking or self.current[parsed[0]].round != parsed[1]:
            return
        step = parsed[0]
        self.asking.pop(step)
        self.deadlines.drop(step)
        readied = self.asked.pop(step)
        instance = self.instances[instance_id(step, readied.round)]
        self.answers[instance.id] = Answer(fact.approved, fact.reason, actor, at, fact.timed_out)
        if not fact.approved:
            instance.outcome, instance.why = "rejected", fact.reason
            self._end(instance, "failed", at)
        elif self.steps[step].kind == "approval":
            self._end(instance, "completed", at)
        else:
            if readied.items is not None:
                del self.instances[instance.id]  # it stood for the items until they were let go
            self._open(readied, at)

    def _may_begin(self, id: str) -> Instance | None:
        """An instance that waits for its turn; None for any other."""
        instance = self.instances.get(id)
        if instance is None or instance.ended or id in self.working or id in self.dropped:
            return None
        return None if instance.waiting_for == "approval" else instance

    def _step_started(self, fact: StepStarted, at: int) -> None:
        instance = self._may_begin(fact.instance)
        if instance is None or fact.attempt <= instance.attempts:
            return
        self._take(instance)
        instance.status, instance.waiting_for, instance.since, instance.due = "running", "", at, 0
        instance.attempts, instance.task, instance.child = fact.attempt, fact.task, fact.child
        instance.agent = fact.agent or instance.agent
        instance.started_at = instance.started_at or at
        instance.dirty = True
        self.working[instance.id] = None

    def _step_ended(self, fact: StepEnded, at: int) -> None:
        instance = self.instances.get(fact.instance)
        if instance is None or instance.ended or (instance.id in self.retrying and self.told[instance.id] == fact):
            return
        self.told[instance.id] = fact
        instance.outcome, instance.why = fact.outcome, fact.why
        self._count(instance, fact)
        if fact.agent:
            instance.agent = fact.agent
            self.worked[instance.step, instance.item] = (fact.agent, instance.link)
        if fact.next == "agent":
            instance.link += 1
            instance.agent = instance.session = instance.snapshot = ""
            instance.archived = instance.dirty = False
        elif fact.next:
            instance.retries += 1
            if fact.outcome in LINKS:  # who could not take it does not keep it
                instance.agent = instance.session = ""
        if fact.next and instance.id not in self.dropped and (not self.ends_as or self.admits(instance.step)):
            self._wait(instance, fact.next, fact.due, at)
        else:
            self._end(instance, fact.status, at)

    def _count(self, instance: Instance, fact: StepEnded) -> None:
        for counted in (self, instance):
            counted.tokens += fact.tokens
            counted.input_tokens += fact.input_tokens
            counted.output_tokens += fact.output_tokens
            counted.cost += fact.cost
        instance.session = fact.session or instance.session

    def _loop_turned(self, fact: LoopTurned, at: int) -> None:
        if fact.step not in self.turning or self.current[fact.step].round != fact.round:
            return
        del self.turning[fact.step]
        if fact.again:
            self._round(fact.step, at)
            return
        activation = self.current[fact.step]
        if fact.outcome not in ("", "ok"):
            activation.status, activation.outcome, activation.why = "failed", fact.outcome, fact.why
            # what never came true must not pass for done, whatever else may go on
            if fact.outcome == "no_convergence" or self.steps[fact.step].on_failure != "continue":
                self.failures.append(fact.step)
                return
        self._close_loop(fact.step, at)

    # Facts of workspaces

    def _wished(self, fact: Wish, at: int) -> None:
        instance = self._may_begin(fact.instance)
        if instance is None:
            return
        self._take(instance)
        if isinstance(fact, WorkspaceArchiveWanted):
            instance.agent = fact.target or instance.agent
        instance.waiting_for, instance.since, instance.due = "restore", at, 0
        self.wishes[instance.id] = fact

    def _archived(self, fact: WorkspaceArchived, at: int) -> None:
        wish = self.wishes.get(fact.instance)
        instance = self._answered(fact.instance, WorkspaceArchiveWanted, fact.error, at)
        if instance is None or wish is None:
            return
        instance.archived = True
        back = self.fact.archives.get(instance.id) if self.fact.restores and not instance.returned else None
        if back is None or not instance.snapshot:
            instance.snapshot = fact.snapshot
            back = WorkspaceRestoreWanted(
                self.id, instance.id, wish.node, wish.workspace, fact.snapshot, wish.agent, target=instance.agent
            )
        self.points[instance.id] = back

    def _returned(self, fact: WorkspaceReturned, at: int) -> None:
        instance = self._answered(fact.instance, WorkspaceRestoreWanted, fact.error, at)
        if instance is not None:
            instance.returned, instance.dirty = True, False

    def _answered(self, id: str, kind: type[Wish], error: str, at: int) -> Instance | None:
        """The instance whose workspace is ready; None where nothing was asked, or it could not be done."""
        if not isinstance(self.wishes.get(id), kind):
            return None
        del self.wishes[id]
        instance = self.instances[id]
        instance.since = at
        if error:
            self.broken[id] = error
            return None
        instance.waiting_for = "slot"
        self.prepared[id] = None
        return instance

    # Facts of the run

    def _ending(self, fact: WorkflowRunEnding, at: int) -> None:
        """Nothing new starts but handlers; those that were called before are cut off where the run is stopped."""
        if self.ended:
            return
        self.ends_as, self.why = fact.status, fact.why
        self._go_on(at)
        if fact.stops:
            self.stops = True
            self.cut = frozenset(self.called)
        for step, activation in self.current.items():
            below = self.graph.below[step]
            if (below & self.cut) if below else True:
                self.turning.pop(step, None)
                if not activation.done:
                    self._drop(step, activation, at)

    def _handler(self, fact: HandlerCalled, at: int) -> None:
        if fact.step not in self.called:
            self.called.append(fact.step)
            if self.current[fact.step].status == "waiting":
                self._ready(fact.step, at)

    def _admitted(self, _fact: WorkflowRunAdmitted, _at: int) -> None:
        if self.status == "queued":
            self.status = "paused" if self.paused else "running"

    def _paused(self, fact: WorkflowRunPaused, at: int) -> None:
        if not self.ended and not self.ends_as:
            if not self.paused:
                self.paused_at = at
            self.paused = fact.why
            self.status = "paused" if self.status == "running" else self.status

    def _resumed(self, fact: WorkflowRunResumed, at: int) -> None:
        if self.ended:
            return
        self._go_on(at)
        self.tokens_max += fact.add_tokens if self.tokens_max else 0
        self.cost_max += fact.add_cost if self.cost_max else 0

    def _go_on(self, at: int) -> None:
        """The end of a pause: what people were asked waits so much longer."""
        if self.paused:
            lasted = max(0, at - self.paused_at)
            self.pauses.append((self.paused_at, at))
            for step, until in [(step, until) for step, until in self.asking.items() if until]:
                self.asking[step] = self.instances[instance_id(step, self.current[step].round)].until = until + lasted
                self.deadlines.set(step, until + lasted)
        self.paused = ""
        self.status = "running" if self.status == "paused" else self.status

    def _finished(self, fact: WorkflowRunFinished, at: int) -> None:
        """The run has ended; a restore of the whole ends it as it stands."""
        if self.ended:
            return
        for instance in list(self.waits()):
            working = instance.id in self.working
            instance.status, instance.waiting_for = "cancelled" if working else "skipped", ""
            instance.since = instance.ended_at = at
        for activation in self.current.values():
            if not activation.done:
                activation.status = "cancelled" if activation.taken else "skipped"
                activation.since, activation.dropped = at, True
        self.status, self.why, self.ended_at = fact.status, fact.why or self.why, at
        self.outcome, self.result, self.paused = fact.outcome, fact.result, ""
        self._keep_nothing()


_FOLDS: dict[type[Any], Callable[[Run, Any, int], None]] = {
    WorkflowRunAdmitted: Run._admitted,
    StepReadied: Run._readied,
    StepStarted: Run._step_started,
    StepEnded: Run._step_ended,
    LoopTurned: Run._loop_turned,
    WorkspaceArchiveWanted: Run._wished,
    WorkspaceRestoreWanted: Run._wished,
    WorkspaceArchived: Run._archived,
    WorkspaceReturned: Run._returned,
    WorkflowRunEnding: Run._ending,
    HandlerCalled: Run._handler,
    WorkflowRunPaused: Run._paused,
    WorkflowRunResumed: Run._resumed,
    WorkflowRunFinished: Run._finished,
}
