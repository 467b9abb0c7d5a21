"""The story of a workflow's run: its own events, those of the tasks of its steps, the start and end of its children.

Found by the links between a subject's events, so that its cost is that of its length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maestro.model import events as e
from maestro.model.events import Event
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.store.contract import Store
from projections.view_reader import Views

TASKS_AT_ONCE = 500
Find = Callable[[int], Event | None]


def linked_run(store: Store, run: str) -> RunHeader | None:
    """The header of a run, if links lead through its whole story: no restore came after its start."""
    found = Views(store).workflow_run(run)
    if found.row is None or found.checkpoint.floor > found.row.position:
        return None
    return found.row


def story(store: Store, header: RunHeader, find: Find, of_task: Callable[[Task], Sequence[Event]]) -> list[Event]:
    """The events of a run in order. find: the event at a position; of_task: the story of a task."""
    views = Views(store)
    events: dict[int, Event] = {}
    seq = header.seq
    while seq >= header.position and (event := find(seq)) is not None:
        events[seq] = event
        seq = event.prev
    started = [event.fact for event in events.values() if isinstance(event.fact, e.StepStarted)]
    tasks = [fact.task for fact in started if fact.task]
    for first in range(0, len(tasks), TASKS_AT_ONCE):
        for task in views.tasks_named(tasks[first : first + TASKS_AT_ONCE]).rows:
            events |= {event.seq: event for event in of_task(task)}
    for child in (fact.child for fact in started if fact.child):
        row = views.workflow_run(child).row
        for seq in () if row is None else (row.position, row.seq):
            event = find(seq)
            if event is not None and isinstance(event.fact, (e.WorkflowRunStarted, e.WorkflowRunFinished)):
                events[seq] = event
    return [events[seq] for seq in sorted(events)]


def concerns_run(store: Store, run: str, events: Sequence[Event]) -> Callable[[Event], bool]:
    """Whether an event of these is part of a run's story, where links do not lead through it."""
    named = {
        event.fact.task for event in events if isinstance(event.fact, e.TaskDispatched) and event.fact.workflow == run
    }
    others = {str(task) for event in events if (task := getattr(event.fact, "task", ""))} - named
    named |= {row.id for row in Views(store).tasks_named(sorted(others)).rows if row.workflow == run}
    subject = f"workflow-run:{run}"

    def concerns(event: Event) -> bool:
        fact = event.fact
        return event.subject == subject or getattr(fact, "task", "") in named or getattr(fact, "parent", "") == run

    return concerns
