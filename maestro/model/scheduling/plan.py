"""The plan of a namespace, on which the scheduler decides: open tasks, agents, nodes, and which waits for which.

The plan is a fold like any view, kept in memory and made for one question: what can be decided now? Each event costs
O(what it changes). A plan is loaded from the open rows of the views and then follows the log. What a decision needs and
the plan does not hold (the status of a task that ended long ago) stands in `missing` until it is supplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from maestro.model import agent as agents_, events as e, node as nodes_, task as tasks_
from maestro.model.agent import Agent
from maestro.model.coordination.open_works import OpenWorks, WorkFact
from maestro.model.facts.permission import PermissionFact
from maestro.model.ids import slot_of_run
from maestro.model.node import Node
from maestro.model.scheduling.open_tasks import OpenTasks
from maestro.model.snapshot import Snapshot
from maestro.model.task import PRIORITY_DEFAULT, Run, Task

TIMEOUT_S_DEFAULT = 1800.0

TaskFact = e.TaskCancelRequested | e.TaskFinished | e.TaskRetried | PermissionFact
AgentFact = (
    e.AgentAssigned
    | e.AgentStopped
    | e.AgentRestarted
    | e.AgentReset
    | e.AgentHealthChanged
    | e.WorkspaceGuarded
    | e.FailsafeReturned
    | e.FailsafeKept
    | e.GuardDropped
)
NodeFact = (
    e.NodeJoined
    | e.NodeHeld
    | e.NodeResumed
    | e.NodeLeft
    | e.NodeLost
    | e.NodeDrainBegun
    | e.NodeDrainEnded
    | e.NodeForgotten
)
RunFact = e.RunReleased | e.RunStarted | e.RunSessionOpened | e.RunUsageReported | e.RunEnded | e.RunParked
WorkflowFact = (
    e.WorkspaceArchiveWanted
    | e.StepEnded
    | e.WorkflowRunStarted
    | e.WorkflowRunPaused
    | e.WorkflowRunResumed
    | e.WorkflowRunEnding
    | e.WorkflowRunFinished
)


class Plan(OpenTasks):
    """The plan. It may be read freely; only `apply`, `hold`, `supply`, `wake` and decisions change it.

    floor: as of the views' checkpoint; timeout_s: of runs whose task and type give none. works: what several nodes do
    together.
    """

    def __init__(self, floor: int = 0, seq: int = 0, timeout_s: float = TIMEOUT_S_DEFAULT) -> None:
        super().__init__(seq)
        self.floor, self.timeout_s = floor, timeout_s
        self.supplied_at = 0
        self.works = OpenWorks()
        self._ahead: dict[str, int] = {}

    @classmethod
    def load(
        cls,
        tasks: Iterable[Task],
        agents: Iterable[Agent],
        nodes: Iterable[Node],
        seq: int = 0,
        floor: int = 0,
        snapshots: Iterable[Snapshot] = (),
    ) -> Plan:
        """A plan from the open rows of `queue` and `snapshots`, and all of `agents` and `nodes`, all of position `seq`.

        Then call `supply` with the rows of `missing`. The plan changes the rows that it is given.
        """
        plan = cls(floor, seq)
        plan.works = OpenWorks(snapshots, floor)
        plan.crew.still = plan.works.still
        for node in nodes:
            plan.nodes[node.id] = node
        for agent in agents:
            plan.crew.place(agent)
        for row in sorted(tasks, key=lambda task: task.position):
            plan._add(row)
        plan.adrift.update(plan.crew.live.fromkeys(plan.crew.live))
        return plan

    def supply(self, rows: Mapping[str, Task | None], as_of: int) -> None:
        """Take in rows of the view `tasks` for what is `missing`, None for no such task, with their checkpoint's seq.

        Rows older than what `missing` asks for are left. Nothing is decided before the plan has reached `as_of`.
        """
        missing = self.dependencies.missing
        for name, row in rows.items():
            if missing.get(name, as_of + 1) > as_of:
                continue
            del missing[name]
            self.supplied_at = max(self.supplied_at, as_of)
            if row is not None and row.open:
                self._ahead[name] = as_of
                self._add(row)
            else:
                self._settle(name, "unknown" if row is None else row.status, 0 if row is None else row.finished_at)

    @property
    def missing(self) -> Mapping[str, int]:
        """Tasks whose rows are to be supplied, with the position that the rows must have reached."""
        return self.dependencies.missing

    @property
    def behind(self) -> bool:
        """Whether rows were supplied that are of a later position than the plan."""
        return self.seq < self.supplied_at

    def run(self, run: str) -> tuple[Task, Run] | None:
        """A run that is released or running, with its task; None for any other."""
        live = self.crew.live.get(run)
        if live is None:
            return None
        task = self.tasks[live.task]
        return task, task.slots[live.slot].runs[-1]

    def released_unstarted(self) -> list[tuple[str, str, int]]:
        """Hints that must exist: (stream, run, token) of every run that is released and not started."""
        live = self.crew.live
        return [(live[name].node, name, live[name].token) for name in self.crew.unstarted]

    def apply(self, event: e.Event) -> None:
        """Fold one event. Behind `restore.done` load a new plan instead: history has branched off."""
        if event.seq <= self.seq:
            return
        self.seq, self.clock = event.seq, max(self.clock, event.at)
        fold = _FOLDS.get(event.fact.__class__)
        if fold is not None:
            fold(self, event, event.fact)

    # ---- runs of workflows ----

    def _workflow_event(self, _event: e.Event, fact: WorkflowFact) -> None:
        match fact:
            case e.WorkspaceArchiveWanted():
                self.hold((fact.run, fact.instance), (fact.node, fact.workspace))
            case e.StepEnded():
                if not fact.next:
                    self._let_go(self.holds.end((fact.run, fact.instance)))
            case e.WorkflowRunStarted():
                self.pauses.begin(fact.run, fact.parent)
            case e.WorkflowRunPaused():
                self.pauses.pause(fact.run, fact.why)
            case e.WorkflowRunResumed() | e.WorkflowRunEnding():
                self.go_on(fact.run, self.pauses.resume(fact.run))
            case e.WorkflowRunFinished():
                self._let_go(self.holds.end_all(fact.run))
                self.go_on(fact.run, self.pauses.end(fact.run))

    # ---- tasks ----

    def _dispatched(self, event: e.Event, fact: e.TaskDispatched) -> None:
        row = tasks_.evolve(None, event)
        if row is not None and fact.task not in self.tasks and self._ahead.get(fact.task, 0) < event.seq:
            self._add(row)

    def _task_event(self, event: e.Event, fact: TaskFact) -> None:
        row = self._follow(fact.task, event)
        if row is None:
            if isinstance(fact, e.TaskRetried):
                for other in self.dependencies.reopen(fact.task, self.tasks, event.seq):
                    self.requeue(self.tasks[other])
            return
        self.because[row.id] = event.seq
        if isinstance(fact, e.TaskFinished):
            self._settle(row.id, row.status, event.at)
        else:
            self.changed[row.id] = None
            for index in range(len(row.slots)):  # a cancel ends those that wait
                self.count_run(row, index)
            self.adrift.update((slot.live.id, None) for slot in row.slots if slot.live is not None)

    def _follow(self, name: str, event: e.Event) -> Task | None:
        """The task after the event; None where the plan does not hold it, or held it later than this already."""
        if name in self.dependencies.missing:
            self.dependencies.missing[name] = event.seq
        if self._ahead.get(name, 0) >= event.seq:
            return None
        return tasks_.evolve(self.tasks.get(name), event)

    def _add(self, row: Task) -> None:
        self.tasks[row.id] = row
        if row.workflow:
            self.steps.setdefault((row.workflow, row.step), {})[row.id] = None
        self.because.setdefault(row.id, self.seq)
        self.dependencies.add(row, self.tasks, self.seq)
        for index in range(len(row.slots)):
            self.crew.track(row, index)
        self.changed[row.id] = None
        self.requeue(row)

    def _settle(self, name: str, status: str, at: int) -> None:
        """Forget a task that has ended, but for its dependents. at: when it ended."""
        self._ahead.pop(name, None)
        row = self.tasks.pop(name, None)
        if row is not None:
            self.because.pop(name, None)
            self.freed.pop(name, None)
            for index in range(len(row.slots)):
                self.census.leave(name, index)
            self.changed.pop(name, None)
            self._forget_step(row)
            self.dependencies.forget(row)
        for other in self.dependencies.settle(name, status):
            self.because[other] = self.seq
            if not self.dependencies.unmet[other]:
                self.freed[other] = max(at, self.freed.get(other, 0))
                self.requeue(self.tasks[other])
            elif status != "completed":
                self.changed[other] = None

    # ---- runs, agents, nodes ----

    def _run_event(self, event: e.Event, fact: RunFact) -> None:
        agent = self.agents.get(fact.agent)
        if agent is not None:
            if agent.run:
                self.adrift[agent.run] = None
            agents_.evolve(agent, event)
        row = self._follow(fact.task, event)
        if row is not None:
            self.because[row.id] = event.seq
            self._run_moved(row, fact)
        if isinstance(fact, e.RunEnded):
            self._free(fact.agent)

    def _run_moved(self, row: Task, fact: RunFact) -> None:
        index = slot_of_run(fact.run)
        match fact:
            case e.RunReleased() | e.RunStarted():
                self.dependencies.begin(row)
                self._track(row, index)
                self.count_run(row, index)
                if row.cancel is not None:
                    self.changed[row.id] = None
                self.adrift[fact.run] = None
            case e.RunEnded() | e.RunParked():
                self._track(row, index)
                self.changed[row.id] = None
                self.requeue_slot(row, index)

    def _track(self, row: Task, index: int) -> None:
        """Take in what the last run of a slot is now; the workspace that it leaves may be free."""
        left = self.crew.track(row, index)
        if left is not None:
            self._vacate(left)

    def _agent_event(self, event: e.Event, fact: AgentFact) -> None:
        row = self.agents.get(fact.agent)
        priority = PRIORITY_DEFAULT if row is None else row.priority
        row = agents_.evolve(row, event)
        if row is None:
            return
        if isinstance(fact, e.AgentAssigned):
            self.crew.place(row)
            for live in [live for live in self.crew.live.values() if row.id in (live.agent, live.owner)]:
                self._track(self.tasks[live.task], live.slot)
            if row.priority != priority:
                for entry in list(self.lanes.drain(row.id)):
                    if entry.task in self.tasks:
                        self.requeue_slot(self.tasks[entry.task], entry.slot)
        if row.run:
            self.adrift[row.run] = None
        self.adrift.update((run, None) for run, live in self.crew.live.items() if live.owner == row.id)
        self._free(row.id)
        self.lanes.offer_spot(row.id)

    def _work_event(self, event: e.Event, fact: WorkFact) -> None:
        self.works.apply(event, fact)
        self.crew.still = self.works.still

    def _node_event(self, event: e.Event, fact: NodeFact) -> None:
        row = nodes_.evolve(self.nodes.get(fact.node), event)
        if row is None:
            return
        self.nodes[row.id] = row
        self.lanes.offer_labelled()
        if not row.takes_work:
            for run, live in self.crew.live.items():
                if live.node == row.id:
                    self.adrift[run] = None


_FOLDS: Mapping[type, Callable[[Plan, e.Event, Any], None]] = {
    fact: fold
    for fold, facts in (
        (Plan._dispatched, (e.TaskDispatched,)),
        (Plan._task_event, get_args(TaskFact)),
        (Plan._run_event, get_args(RunFact)),
        (Plan._agent_event, get_args(AgentFact)),
        (Plan._node_event, get_args(NodeFact)),
        (Plan._workflow_event, get_args(WorkflowFact)),
        (Plan._work_event, get_args(WorkFact)),
    )
    for fact in facts
}
"""What takes in an event, by its fact: most are of runs, and asking for one kind after the other would take a tenth of
the time.
"""
