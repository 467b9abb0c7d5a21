"""Open runs as the leader has them in memory: the fold of each, and what of its surroundings it waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import trio

from maestro.model.events import AnyFact, Event
from maestro.model.task import Task
from maestro.model.workflow.groups import Groups
from maestro.model.workflow.run import Run


class LiveRun:
    """One open run. seq: of its last event that is folded; position: of its first.

    ends: tasks of its attempts that have finished, child_ends: child runs that have, by instance, until that is told;
    cancelled: instances whose end was asked for. is_stale: the log refused what was foreseen, so that the run is to be
    read anew; is_ahead: events are foreseen that the log may refuse; is_folder_lost: its folder is on a node that was
    lost; silent: nodes that began anew before they had answered. driving: whether it is being driven, again: whether it
    is to be once more; due: when something is to be decided though nothing happens, ms, 0 for never.
    """

    def __init__(self, run: Run, seq: int, position: int) -> None:
        self.run = run
        self.seq = seq
        self.position = position
        self.ends: dict[str, Task] = {}
        self.child_ends: dict[str, Run] = {}
        self.is_folder_lost = False
        self.silent: set[str] = set()
        self.cancelled: set[str] = set()
        self.is_stale = False
        self.driving = False
        self.again = False
        self.due = 0
        self.is_ahead = False
        self._arrived: deque[Event] = deque()

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id

    def take(self, event: Event) -> None:
        """Fold an event of the run that the log has; later, where the run is ahead of the log."""
        if self.is_ahead:
            self._arrived.append(event)
        elif event.seq > self.seq:
            self.run.apply(event.fact, event.at, event.actor)
            self.seq = event.seq

    def foresee(self, fact: AnyFact, at: int, actor: str) -> None:
        """Fold a fact that is about to be appended: the run is ahead of the log until `settle`."""
        self.is_ahead = True
        self.run.apply(fact, at, actor)

    def settle(self, seq: int) -> None:
        """Know that the log has all that was foreseen, with the last of it at position `seq`."""
        self.is_ahead, self.seq = False, max(self.seq, seq)
        while self._arrived:
            self.take(self._arrived.popleft())

    def replace(self, run: Run, seq: int) -> None:
        """Take the run as the log has it, instead of one with facts that the log refused."""
        self.run, self.is_stale = run, False
        self.seq = seq
        self.settle(seq)


class LiveRuns:
    """All open runs by id, with their children and their groups. news: set where the leader has to look again."""

    def __init__(self) -> None:
        self.news = trio.Event()
        self._runs: dict[str, LiveRun] = {}
        self._children: dict[str, dict[str, None]] = {}
        self.groups = Groups()

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(self._runs.values())

    def __contains__(self, run: str) -> bool:
        return run in self._runs

    def get(self, run: str) -> LiveRun | None:
        """An open run, None where it is none."""
        return self._runs.get(run)

    def add(self, live: LiveRun) -> None:
        """Take in a run."""
        fact = live.run.fact
        self._runs[live.id] = live
        if fact.parent:
            self._children.setdefault(fact.parent, {})[live.id] = None
        self.groups.add(live.id, live.position, fact)

    def forget(self, live: LiveRun) -> list[LiveRun]:
        """Forget a run that has ended; the runs that may go on now, as they waited for its group."""
        self._runs.pop(live.id, None)
        self._children.get(live.run.fact.parent, {}).pop(live.id, None)
        self._children.pop(live.id, None)
        return [other for run in self.groups.remove(live.id) if (other := self._runs.get(run)) is not None]

    def clear(self) -> None:
        """Forget all."""
        self._runs.clear()
        self._children.clear()
        self.groups = Groups()

    def children(self, run: str) -> list[LiveRun]:
        """The open children of a run."""
        return [self._runs[child] for child in self._children.get(run, ()) if child in self._runs]

    def parents(self, live: LiveRun) -> Iterator[LiveRun]:
        """The open runs above a run, the nearest first."""
        above = self._runs.get(live.run.fact.parent)
        while above is not None:
            yield above
            above = self._runs.get(above.run.fact.parent)

    def related(self, live: LiveRun) -> list[LiveRun]:
        """A run with all above and below it, the children first."""
        found = [live]
        for one in found:
            found += self.children(one.id)
        return [*found, *self.parents(live)]
