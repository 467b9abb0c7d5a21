"""The invariants that must hold after a trial, whatever the fault: each function yields the breaches, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from maestro.model.events import Event, RunEnded, RunReleased, RunStarted, StateSet, TaskDispatched, TaskFinished
from projections.lineage import Line, cuts_of
from tools.chaos.work import Work


def breaches(work: Work, events: Sequence[Event]) -> list[str]:
    """The breaches of all invariants of the log and of the agents."""
    holding = on_line(events)
    return [
        *gaps(events),
        *acknowledged(work, holding),
        *terminal_events(work, holding),
        *overlaps(work),
        *unrecorded(work, events),
    ]


def on_line(events: Sequence[Event]) -> list[Event]:
    """The events that hold, behind all restores."""
    line = Line(cuts_of(events))
    return [event for event in events if line.holds(event.seq)]


def gaps(events: Sequence[Event]) -> Iterator[str]:
    """Positions increase by one."""
    for number, event in enumerate(events, 1):
        if event.seq != number:
            yield f"event {event.seq} stands in place {number}"
            return


def acknowledged(work: Work, events: Sequence[Event]) -> Iterator[str]:
    """What was acknowledged is in the log, once."""
    keys = Counter(event.fact.key for event in events if isinstance(event.fact, TaskDispatched))
    ids = {event.fact.task for event in events if isinstance(event.fact, TaskDispatched)}
    for key, task in work.kept_tasks().items():
        if keys[key] != 1 or task not in ids:
            yield f"the acknowledged task {task} (key {key}) is {keys[key]} times in the log"
    values = Counter((fact.key, fact.value) for event in events if isinstance(fact := event.fact, StateSet))
    for key, value in work.kept_states().items():
        times = values[key, value]
        if times == 0 or (times > 1 and key in work.once):
            yield f"the acknowledged state {key} is {times} times in the log"


def terminal_events(work: Work, events: Sequence[Event]) -> Iterator[str]:
    """A released run ends exactly once; so does a task."""
    ended = Counter(event.fact.run for event in events if isinstance(event.fact, RunEnded))
    for run in (event.fact.run for event in events if isinstance(event.fact, RunReleased)):
        if ended[run] != 1:
            yield f"run {run} has {ended[run]} terminal events"
    finished = Counter(event.fact.task for event in events if isinstance(event.fact, TaskFinished))
    for task in work.kept_tasks().values():
        if finished[task] != 1:
            yield f"task {task} finished {finished[task]} times"


def overlaps(work: Work) -> Iterator[str]:
    """No agent ever met another one, or the left-over child of one, in its workspace."""
    yield from work.evidence_of("overlap")


def unrecorded(work: Work, events: Sequence[Event]) -> Iterator[str]:
    """Each process that really was an agent has its `run.started`, and none was started twice for one release.

    A failover that lost a tail may have lost releases and starts with it: those runs are started again.
    """
    if work.installation.lost_tail:
        return
    started = {event.fact.run for event in events if isinstance(event.fact, RunStarted)}
    released = Counter(event.fact.run for event in events if isinstance(event.fact, RunReleased))
    for run, times in Counter(work.evidence_of("started")).items():
        if times > max(1, released[run]):
            yield f"run {run} was started {times} times"
        if run not in started:
            yield f"run {run} was a process but is not in the log"


def effects(work: Work, events: Sequence[Event]) -> Iterator[str]:
    """A task runs once for each of its agents, again for each run that was lost, and for each of its retries."""
    if work.installation.lost_tail:
        return
    events = on_line(events)
    released = Counter((fact.task, fact.slot) for event in events if isinstance(fact := event.fact, RunReleased))
    slots = {fact.run: (fact.task, fact.slot) for event in events if isinstance(fact := event.fact, RunReleased)}
    lost = Counter(slots[fact.run] for event in events if isinstance(fact := event.fact, RunEnded) and is_lost(fact))
    retries = {fact.task: fact.retries for event in events if isinstance(fact := event.fact, TaskDispatched)}
    for slot, times in released.items():
        most = 1 + lost[slot] + retries[slot[0]]
        if times > most:
            yield f"slot {slot[1]} of task {slot[0]} ran {times} times ({most} may)"


def is_lost(end: RunEnded) -> bool:
    """Whether a run ended in a way for which it is run again."""
    return end.outcome in ("lost", "spawn_error", "no_start")
