"""A pure log in memory, with the version checks of the real one, and the folds of it from the start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from maestro.model import agent, events as e, node, task
from maestro.model.agent import Agent
from maestro.model.coordination.open_works import WorkFact
from maestro.model.events import Event, NewEvent
from maestro.model.node import Node
from maestro.model.restore import line
from maestro.model.scheduling.plan import Plan
from maestro.model.task import Task
from maestro.model.workflow import run_header
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.plan_loader import hold

Row = TypeVar("Row")
OF_WORKFLOWS = (
    *(e.WorkflowRunStarted, e.WorkflowRunPaused, e.WorkflowRunResumed, e.WorkflowRunFinished),
    *(e.WorkspaceArchiveWanted, e.StepEnded),
)


class Views:
    """Rows of the log, folded from its start."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.agents: dict[str, Agent] = {}
        self.nodes: dict[str, Node] = {}
        self.headers: dict[str, RunHeader] = {}

    def apply(self, event: Event) -> None:
        """Fold one event into the rows that it touches."""
        fact = event.fact
        if event.subject.startswith("workflow-run:"):
            name = event.subject.removeprefix("workflow-run:")
            _put(self.headers, name, run_header.evolve(self.headers.get(name), event))
            return
        name = getattr(fact, "task", None)
        if name:
            _put(self.tasks, name, task.evolve(self.tasks.get(name), event))
        name = getattr(fact, "agent", None)
        if name:
            _put(self.agents, name, agent.evolve(self.agents.get(name), event))
        if event.subject.startswith("node:"):
            self.apply_node(event)

    def apply_node(self, event: Event) -> None:
        """Nodes follow all events, not the line."""
        name = event.subject.removeprefix("node:")
        _put(self.nodes, name, node.evolve(self.nodes.get(name), event))


def _put(rows: dict[str, Row], name: str, row: Row | None) -> None:
    if row is not None:
        rows[name] = row


class Log:
    """Events with versions and a floor. at: the server's time, ms."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.restores: list[tuple[int, int]] = []
        self.floor = 0
        self.at = 1_000_000
        self._versions: dict[str, int] = {}

    @property
    def head(self) -> int:
        """The seq of the last event."""
        return len(self.events)

    def version(self, subject: str) -> int:
        """The subject's version."""
        return self._versions.get(subject, self.floor)

    def append(self, events: Sequence[NewEvent], cause: str = "test", floors: bool = False) -> list[Event] | None:
        """The events as they stand in the log, None where a version refused them."""
        first: dict[str, int | None] = {}
        for new in events:
            first.setdefault(new.subject, new.expected)
        if any(expected not in (None, self.version(subject)) for subject, expected in first.items()):
            return None
        added = []
        for new in events:
            event = Event(self.head + 1, new.subject, self.at, "tester", cause, self.version(new.subject), new.fact)
            self._versions[new.subject] = event.seq
            self.events.append(event)
            added.append(event)
            if isinstance(new.fact, e.RestoreDone):
                self.restores.append((event.seq, new.fact.to))
        if floors:
            self.floor = self.head
            self._versions.clear()
        return added

    def fold(self, end: int | None = None) -> Views:
        """The views at a position: nodes of all events, the rest of the line."""
        end = self.head if end is None else end
        views = Views()
        for positions in line(self.restores, end):
            for event in self.events[positions.start - 1 : positions.stop - 1]:
                if not event.subject.startswith("node:"):
                    views.apply(event)
        for event in self.events[:end]:
            if event.subject.startswith("node:"):
                views.apply_node(event)
        return views

    def plan(self) -> Plan:
        """A plan loaded from fresh views, supplied with all it misses."""
        views = self.fold()
        open_tasks = [row for row in views.tasks.values() if row.open]
        plan = Plan.load(open_tasks, views.agents.values(), views.nodes.values(), self.head, self.floor)
        hold(plan, [row for row in views.headers.values() if row.open])
        self.supply(plan)
        return plan

    def supply(self, plan: Plan) -> None:
        """What the plan misses, as of the head."""
        views = self.fold() if plan.missing else Views()
        while plan.missing:
            plan.supply({name: views.tasks.get(name) for name in list(plan.missing)}, self.head)


def subject_of(fact: e.AnyFact) -> str:
    """The subject that a fact stands under."""
    if isinstance(fact, OF_WORKFLOWS):
        return f"workflow-run:{fact.run}"
    if isinstance(fact, WorkFact):
        return f"snapshot:{fact.snapshot}"
    for kind, field in (("run", "run"), ("task", "task"), ("type", "slug"), ("agent", "agent"), ("node", "node")):
        name = getattr(fact, field, None)
        if name is not None:
            return f"{kind}:{name}"
    if isinstance(fact, e.StateSet | e.StateDeleted):
        return f"state:{fact.key}"
    raise AssertionError(fact)


def new(*facts: e.AnyFact) -> list[NewEvent]:
    """Facts on their way into the log, at any version."""
    return [NewEvent(subject_of(fact), fact) for fact in facts]


def facts_of(events: Iterable[NewEvent]) -> list[e.AnyFact]:
    """Their facts."""
    return [event.fact for event in events]
