"""The state of a run, and what is kept ready of it: what may be readied, started, turned or answered, in order.

`activations.py` has the changes that steps and instances go through, `run.py` the facts that make them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.model.facts import Text
from maestro.model.facts.workflow import (
    StepEnded,
    StepReadied,
    WorkflowRunStarted,
    WorkspaceArchiveWanted,
    WorkspaceRestoreWanted,
)
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.folding.timers import Timers
from maestro.model.workflow.graph import Graph, graph_of
from maestro.model.workflow.instances import Activation, Instance

Wish = WorkspaceArchiveWanted | WorkspaceRestoreWanted


class Answer(msgspec.Struct, frozen=True):
    """The answer to an approval. actor: who gave it, at: when, ms."""

    approved: bool
    reason: str
    actor: str
    at: int
    timed_out: bool


class RunState:
    """The state of one run.

    status: queued, running, paused, or how it ended. ends_as: what it will end as, once that is certain; cut: the
    handlers that had been called when it was stopped. current: the activation of each step in its newest round. told:
    by instance, how it ended last; answers: by instance, to approvals; items: by step, of `for_each`; sizes: how many
    of these a step had, by round. points: by instance, the restore of its workspace to before it.
    ready, startable, turning, asking, working, wishes, prepared, retries: what the decision looks at, in order. wishes:
    by instance, what a node was asked to do to its workspace and has not answered; prepared: those whose node has;
    broken: those whose node could not, and why. retries: by step, when the first of its instances that there is room
    for is due. failing: steps one of whose items has failed where that ends the others. dropped: instances that wait,
    and will not go on. left: steps of the main part that have not ended.
    """

    def __init__(self, fact: WorkflowRunStarted, at: int, workflow: Workflow) -> None:
        self.id = fact.run
        self.fact = fact
        self.workflow = workflow
        self.steps: dict[str, Step] = {step.id: step for step in workflow.steps}
        self.graph: Graph = graph_of(workflow)
        self.status = "queued" if fact.group else "running"
        self.outcome, self.why = "", ""
        self.result: Text = ""
        self.paused, self.paused_at = "", 0
        self.pauses: list[tuple[int, int]] = []
        self.ends_as = ""
        self.stops = False
        self.failures: list[str] = []
        self.called: list[str] = []
        self.cut: frozenset[str] = frozenset()
        self.instances: dict[str, Instance] = {}
        self.current: dict[str, Activation] = {}
        self.told: dict[str, StepEnded] = dict(fact.reused)
        self.answers: dict[str, Answer] = {}
        self.items: dict[str, list[Any]] = dict(fact.items)
        self.points: dict[str, WorkspaceRestoreWanted] = {}
        self.sizes: dict[tuple[str, int], int] = {}
        self.worked: dict[tuple[str, int | None], tuple[str, int]] = {}
        self.tokens, self.input_tokens, self.output_tokens, self.cost = 0, 0, 0, 0.0
        self.tokens_max, self.cost_max = 0, 0.0
        if workflow.budget is not None:
            self.tokens_max, self.cost_max = workflow.budget.tokens or 0, workflow.budget.cost or 0.0
        self.used_ms, self.ticks_since = 0, 0
        self.started_at, self.ended_at = at, 0
        self.left = 0
        self.asked: dict[str, StepReadied] = {}
        self.turns: dict[str, int] = dict.fromkeys(self.graph.loops, 1)
        self.turned: set[str] = set()
        self.loops_of: dict[str, tuple[str, ...]] = _memberships(self.graph)
        self.before_in_loop: dict[tuple[str, str], bool] = {}
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        """Nothing is ready for the decision."""
        self.ready: dict[str, None] = {}
        self.startable: dict[str, None] = {}
        self.turning: dict[str, None] = {}
        self.asking: dict[str, int] = {}
        self.deadlines = Timers()
        self.working: dict[str, None] = {}
        self.wishes: dict[str, Wish] = {}
        self.prepared: dict[str, None] = {}
        self.broken: dict[str, str] = {}
        self.retrying: dict[str, int] = {}
        self.retries = Timers()
        self.failing: dict[str, None] = {}
        self.dropped: dict[str, None] = {}

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.status in ("completed", "failed", "cancelled", "timed_out")

    def admits(self, step: str) -> bool:
        """Whether a step may be readied or started now: the run goes on, or ends and the step handles that."""
        if self.ended or self.paused or self.status == "queued":
            return False
        return not self.ends_as or bool(self.graph.below[step].intersection(self.called) - self.cut)

    def room(self, step: str) -> int:
        """How many more instances of a step may work at once."""
        most = self.steps[step].max_parallel
        activation = self.current[step]
        if most is None:
            return len(activation.queue) + len(activation.retrying)
        return max(0, most - len(activation.taken))

    def waits(self) -> Iterator[Instance]:
        """The instances that have not ended."""
        return (one for one in self.instances.values() if not one.ended)

    # The clock of the run's timeout stands still where it is paused, queued, or nothing but people is waited for.

    def spent_ms(self, now: int) -> int:
        """How long the run's timeout has been running."""
        return self.used_ms + (max(0, now - self.ticks_since) if self.ticks_since else 0)

    def paused_since(self, since: int, now: int) -> int:
        """How long the run has been paused between two times, altogether."""
        spans = [*self.pauses, (self.paused_at, now)] if self.paused else self.pauses
        return sum(max(0, min(end, now) - max(begin, since)) for begin, end in spans)

    def _clock(self, at: int) -> None:
        if self.ticks_since:
            self.used_ms += max(0, at - self.ticks_since)
            self.ticks_since = 0

    def _tick(self, at: int) -> None:
        busy = self.ready or self.startable or self.turning or self.working or self.retrying or self.wishes
        if (busy or self.prepared) and self.status == "running" and not self.paused:
            self.ticks_since = at


def _memberships(graph: Graph) -> dict[str, tuple[str, ...]]:
    """By step the ends of the loops that it is in."""
    found: dict[str, list[str]] = {}
    for end, loop in graph.loops.items():
        for step in loop.body:
            found.setdefault(step, []).append(end)
    return {step: tuple(ends) for step, ends in found.items()}
