"""What is open in a plan, and what of it is ready: the tasks, their lanes, and who holds which workspace."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.model.outcome import LOSSES_MAX
from maestro.model.scheduling.census import DEPENDENCY, RETRY, START, Census
from maestro.model.scheduling.crew import Crew, Place
from maestro.model.scheduling.dependencies import Dependencies
from maestro.model.scheduling.holds import Holds
from maestro.model.scheduling.lanes import NOBODY, Entry, Holder, Lane, Lanes, lane_of
from maestro.model.scheduling.pauses import Pauses
from maestro.model.target import who
from maestro.model.task import PRIORITY_DEFAULT, Slot, Task


class OpenTasks:
    """The open tasks of a plan, and what of them is ready.

    seq: the last event folded; clock: the latest time of an event or a decision, ms. steps: open tasks by the run of a
    workflow and the instance of its step; holds: of workspaces by such instances; pauses: of such runs. adrift, ended,
    released: runs to be looked at; what the last decision did, in case the log refused it. because: the event that last
    made a task ready or an agent free. census: what waits, and for what; freed: when tasks were freed of what is no
    queue: their last dependency, a pause.
    """

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq
        self.clock = 0
        self.crew = Crew()
        self.agents, self.nodes = self.crew.agents, self.crew.nodes
        self.tasks: dict[str, Task] = {}
        self.steps: dict[Holder, dict[str, None]] = {}
        self.dependencies = Dependencies()
        self.holds = Holds()
        self.pauses = Pauses()
        self.lanes = Lanes(self.is_true)
        self.changed: dict[str, None] = {}
        self.adrift: dict[str, None] = {}
        self.ended: list[str] = []
        self.released: list[tuple[Entry, str, Place | None]] = []
        self.because: dict[str, int] = {}
        self.census = Census()
        self.freed: dict[str, int] = {}

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
            if agent in self.agents and not self.agents[agent].run:
                self._free(agent)
            if place is not None and place not in self.crew.writers:
                self._vacate(place)
        self.ended.clear()
        self.released.clear()

    def requeue(self, row: Task) -> None:
        """Put every slot of a task that waits for nothing but an agent into its lane."""
        for index in range(len(row.slots)):
            self.requeue_slot(row, index)

    def requeue_slot(self, row: Task, index: int) -> None:
        """Put one slot into its lane if it is ready, or among the timers if it has a time to wait for."""
        slot = row.slots[index]
        if slot.status != "waiting":
            self.count_run(row, index)
            return
        if self.dependencies.unmet[row.id]:
            self.census.put(row.id, index, DEPENDENCY, row.retried_at or row.dispatched_at)
            return
        ready_at = self._ready_at(row, slot)
        paused = row.workflow and self.pauses.paused(row.workflow)
        if slot.retry_at > self.clock:
            self.census.put(row.id, index, RETRY, slot.runs[-1].ended_at if slot.runs else ready_at)
            if not paused:
                self.lanes.sleep(slot.retry_at, row.id, index)
            return
        entry = self.entry(row, index)
        self.census.put(row.id, index, (entry.lane, row.workflow), ready_at)
        if not paused:
            self.lanes.push(entry)

    def count_run(self, row: Task, index: int) -> None:
        """Take into the census that a slot has a run, or has ended."""
        slot = row.slots[index]
        if slot.status == "released":
            self.census.stay(row.id, index, START, slot.runs[-1].released_at)
        elif slot.status != "waiting":
            self.census.leave(row.id, index)

    def _ready_at(self, row: Task, slot: Slot) -> int:
        """Since when nothing keeps a slot but the queue."""
        ended_at = slot.runs[-1].ended_at if slot.runs else 0
        return max(row.retried_at or row.dispatched_at, slot.retry_at, ended_at, self.freed.get(row.id, 0))

    def entry(self, row: Task, index: int) -> Entry:
        """The entry of a slot in its lane."""
        slot = row.slots[index]
        agent = None if slot.pool else self.agents.get(who(slot.target))
        order = row.order_key(PRIORITY_DEFAULT if agent is None else agent.priority)
        return Entry(order, row.position, index, row.id, self.lane(row, slot))

    def lane(self, row: Task, slot: Slot) -> Lane:
        """The lane of a waiting slot."""
        holder = (row.workflow, row.step)
        return lane_of(row, slot, holder if row.workflow and self.holds.of(holder) else NOBODY)

    def is_true(self, entry: Entry) -> bool:
        """Whether the slot of an entry still waits, ready, as the entry says."""
        row = self.tasks.get(entry.task)
        if row is None or row.position != entry.position or self.dependencies.unmet[row.id]:
            return False
        slot = row.slots[entry.slot]
        if slot.status != "waiting" or slot.retry_at > self.clock or slot.losses > LOSSES_MAX:
            return False
        if row.workflow and self.pauses.paused(row.workflow):
            return False
        return self.entry(row, entry.slot)[:5] == entry[:5]

    def _free(self, agent: str) -> None:
        """Offer what waits for an agent that may be able to take work."""
        self.because[f"agent:{agent}"] = self.seq
        for target in self.crew.answers(agent):
            self.lanes.offer(target)

    # ---- workspaces that workflows hold ----

    def hold(self, holder: Holder, place: Place) -> None:
        """Have an instance of a workflow's step hold a workspace: only its own tasks are released there."""
        self._let_go(self.holds.begin(holder, place))
        self._requeue_of(holder)
        self._look_at(place)

    def go_on(self, run: str, was_paused: bool) -> None:
        """Put the tasks of a workflow's run, and of those below it, back into their lanes, where it was paused."""
        for holder in list(self.steps) if was_paused else ():
            if self.pauses.is_below(holder[0], run):
                self.freed.update(dict.fromkeys(self.steps[holder], self.clock))
                self._requeue_of(holder)

    def _let_go(self, ended: Mapping[Holder, Place]) -> None:
        for holder, place in ended.items():
            self._requeue_of(holder)
            self._vacate(place)
            self._look_at(place)  # the next one in line has it now

    def _look_at(self, place: Place) -> None:
        """Have the runs that are to begin in a workspace be judged anew: another instance may hold it."""
        self.adrift.update((run, None) for run in self.crew.writers.get(place, ()) if run in self.crew.unstarted)

    def _requeue_of(self, holder: Holder) -> None:
        """Put the open tasks of an instance into the lanes where they belong now."""
        for name in self.steps.get(holder, ()):
            self.requeue(self.tasks[name])

    def _vacate(self, place: Place) -> None:
        """Offer what waits for a workspace that may be free."""
        for agent in list(self.crew.sharers.get(place, ())):
            self._free(agent)
            self.lanes.offer_spot(agent)
        self.lanes.offer_spot(place)

    def _forget_step(self, row: Task) -> None:
        of_step = self.steps.get((row.workflow, row.step), {})
        of_step.pop(row.id, None)
        if not of_step:
            self.steps.pop((row.workflow, row.step), None)
