"""The plan of a namespace, on which the scheduler decides: open tasks, agents, nodes, and which waits for which.

The plan is a fold like any view, kept in memory and made for one question: what can be decided now? Each event costs
O(what it changes). A plan is loaded from the open rows of the views and then follows the log. What a decision needs and
the plan does not hold (the status of a task that ended long ago) stands in `missing` until it is supplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.model import agent as agents_
from maestro.model import events as e
from maestro.model import node as nodes_
from maestro.model import task as tasks_
from maestro.model.agent import Agent
from maestro.model.ids import slot_of_run
from maestro.model.node import Node
from maestro.model.outcome import LOSSES_MAX
from maestro.model.scheduling.crew import Crew, Place
from maestro.model.scheduling.dependencies import Dependencies
from maestro.model.scheduling.lanes import Entry, Lanes, lane_of
from maestro.model.task import PRIORITY_DEFAULT, Run, Task

TIMEOUT_S_DEFAULT = 1800.0

AgentFact = e.AgentAssigned | e.AgentStopped | e.AgentRestarted | e.AgentReset | e.AgentHealthChanged
NodeFact = e.NodeJoined | e.NodeHeld | e.NodeResumed | e.NodeLeft | e.NodeLost
RunFact = e.RunReleased | e.RunStarted | e.RunSessionOpened | e.RunUsageReported | e.RunEnded | e.RunParked


class Plan:
    """The plan. It may be read freely; only `apply`, `supply`, `wake` and decisions change it.

    seq: the last event folded; floor: as of the views' checkpoint; timeout_s: of runs whose task and type give none.
    """

    def __init__(self, floor: int = 0, seq: int = 0, timeout_s: float = TIMEOUT_S_DEFAULT) -> None:
        self.seq, self.floor, self.timeout_s = seq, floor, timeout_s
        self.clock = 0  # the latest time of an event or a decision, ms
        self.crew = Crew()
        self.agents, self.nodes = self.crew.agents, self.crew.nodes
        self.tasks: dict[str, Task] = {}
        self.dependencies = Dependencies()
        self.supplied_at = 0
        self._ahead: dict[str, int] = {}
        # what the next decision looks at; ended, released: what the last one did, in case the log refused it
        self.lanes = Lanes(self.is_true)
        self.changed: dict[str, None] = {}
        self.adrift: dict[str, None] = {}
        self.ended: list[str] = []
        self.released: list[tuple[Entry, str, Place | None]] = []
        # the event that last made a task ready or an agent free
        self.because: dict[str, int] = {}

    @classmethod
    def load(
        cls,
        tasks: Iterable[Task],
        agents: Iterable[Agent],
        nodes: Iterable[Node],
        seq: int = 0,
        floor: int = 0,
    ) -> Plan:
        """A plan from the open rows of the view `queue` and all rows of `agents` and `nodes`, all of position `seq`.

        Then call `supply` with the rows of `missing`. The plan changes the rows that it is given.
        """
        plan = cls(floor, seq)
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
                self._settle(name, "unknown" if row is None else row.status)

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
        fact = event.fact
        match fact:
            case e.TaskDispatched():
                self._dispatched(event, fact)
            case e.TaskCancelRequested() | e.TaskFinished() | e.TaskRetried():
                self._task_event(event, fact)
            case (
                e.RunReleased()
                | e.RunStarted()
                | e.RunEnded()
                | e.RunParked()
                | e.RunSessionOpened()
                | e.RunUsageReported()
            ):
                self._run_event(event, fact)
            case e.AgentAssigned() | e.AgentStopped() | e.AgentRestarted() | e.AgentReset() | e.AgentHealthChanged():
                self._agent_event(event, fact)
            case e.NodeJoined() | e.NodeHeld() | e.NodeResumed() | e.NodeLeft() | e.NodeLost():
                self._node_event(event, fact)

    # ---- tasks ----

    def _dispatched(self, event: e.Event, fact: e.TaskDispatched) -> None:
        row = tasks_.evolve(None, event)
        if row is not None and fact.task not in self.tasks and self._ahead.get(fact.task, 0) < event.seq:
            self._add(row)

    def _task_event(self, event: e.Event, fact: e.TaskCancelRequested | e.TaskFinished | e.TaskRetried) -> None:
        row = self._follow(fact.task, event)
        if row is None:
            if isinstance(fact, e.TaskRetried):
                self.dependencies.reopen(fact.task, self.tasks, event.seq)
            return
        self.because[row.id] = event.seq
        if isinstance(fact, e.TaskFinished):
            self._settle(row.id, row.status)
        else:
            self.changed[row.id] = None
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
        self.because.setdefault(row.id, self.seq)
        self.dependencies.add(row, self.tasks, self.seq)
        for index in range(len(row.slots)):
            self.crew.track(row, index)
        self.changed[row.id] = None
        self.requeue(row)

    def _settle(self, name: str, status: str) -> None:
        """Forget a task that has ended, but for its dependents."""
        self._ahead.pop(name, None)
        row = self.tasks.pop(name, None)
        if row is not None:
            self.because.pop(name, None)
            self.changed.pop(name, None)
            self.dependencies.forget(row)
        for other in self.dependencies.settle(name, status):
            self.because[other] = self.seq
            if not self.dependencies.unmet[other]:
                self.requeue(self.tasks[other])
            elif status != "completed":
                self.changed[other] = None

    # ---- what is ready ----

    def wake(self, now: int) -> None:
        """Put the slots whose time has come at `now` (ms) into their lanes."""
        self.clock = max(self.clock, now)
        for name, index in self.lanes.woken(self.clock):
            if name in self.tasks:
                self.requeue_slot(self.tasks[name], index)

    def reopen_last_decision(self) -> None:
        """Have each change of the last decision that the log did not take decided again."""
        self.changed.update((name, None) for name in self.ended if name in self.tasks)
        for entry, agent, place in self.released:
            if entry.task in self.tasks:
                self.requeue_slot(self.tasks[entry.task], entry.slot)
            if not self.agents[agent].run:
                self._free(agent)
            if place is not None and place not in self.crew.writers:
                for sharer in self.crew.sharers.get(place, ()):
                    self._free(sharer)
        self.ended.clear()
        self.released.clear()

    def requeue(self, row: Task) -> None:
        """Put every slot of a task that waits for nothing but an agent into its lane."""
        for index in range(len(row.slots)):
            self.requeue_slot(row, index)

    def requeue_slot(self, row: Task, index: int) -> None:
        """Put one slot into its lane if it is ready, or among the timers if it has a time to wait for."""
        slot = row.slots[index]
        if slot.status != "waiting" or self.dependencies.unmet[row.id]:
            return
        if slot.retry_at > self.clock:
            self.lanes.sleep(slot.retry_at, row.id, index)
        else:
            self.lanes.push(self.entry(row, index))

    def entry(self, row: Task, index: int) -> Entry:
        """The entry of a slot in its lane."""
        slot = row.slots[index]
        agent = None if slot.pool else self.agents.get(slot.target)
        order = row.order_key(PRIORITY_DEFAULT if agent is None else agent.priority)
        return Entry(order, row.position, index, row.id, lane_of(row, slot))

    def is_true(self, entry: Entry) -> bool:
        """Whether the slot of an entry still waits, ready, as the entry says."""
        row = self.tasks.get(entry.task)
        if row is None or row.position != entry.position or self.dependencies.unmet[row.id]:
            return False
        slot = row.slots[entry.slot]
        if slot.status != "waiting" or slot.retry_at > self.clock or slot.losses > LOSSES_MAX:
            return False
        return self.entry(row, entry.slot)[:5] == entry[:5]

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
                if row.cancel is not None:
                    self.changed[row.id] = None
                self.adrift[fact.run] = None
            case e.RunEnded() | e.RunParked():
                self._track(row, index)
                self.changed[row.id] = None
                self.requeue_slot(row, index)

    def _track(self, row: Task, index: int) -> None:
        """Take in what the last run of a slot is now; agents that share the workspace that it leaves are free."""
        for agent in self.crew.track(row, index):
            self._free(agent)

    def _free(self, agent: str) -> None:
        """Offer what waits for an agent that may be able to take work."""
        self.because[f"agent:{agent}"] = self.seq
        for target in self.crew.answers(agent):
            self.lanes.offer(target)

    def _agent_event(self, event: e.Event, fact: AgentFact) -> None:
        row = self.agents.get(fact.agent)
        priority = PRIORITY_DEFAULT if row is None else row.priority
        row = agents_.evolve(row, event)
        if row is None:
            return
        if isinstance(fact, e.AgentAssigned):
            self.crew.place(row)
            live = self.crew.live.get(row.run)
            if live is not None:
                self._track(self.tasks[live.task], live.slot)
            if row.priority != priority:
                for entry in list(self.lanes.drain(row.id)):
                    if entry.task in self.tasks:
                        self.requeue_slot(self.tasks[entry.task], entry.slot)
        if row.run:
            self.adrift[row.run] = None
        self._free(row.id)

    def _node_event(self, event: e.Event, fact: NodeFact) -> None:
        row = nodes_.evolve(self.nodes.get(fact.node), event)
        if row is None:
            return
        self.nodes[row.id] = row
        if isinstance(fact, e.NodeLost):
            for run, live in self.crew.live.items():
                if live.node == row.id:
                    self.adrift[run] = None
