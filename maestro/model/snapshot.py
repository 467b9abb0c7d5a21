"""A restore in the log: it cuts the line and ends whatever was open.

`line` says which events hold up to a position; `decide_restore_end` makes the one append of `restore.done`. What was
open just before the restore is ended before that event, off the line, so that every run has its terminal event.
What was open at the position restored to is ended after it, on the line. A run or task that is open at both
is ended once, on the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maestro.model.events import NewEvent, RestoreDone, RunEnded, TaskFinished
from maestro.model.task import Task

RESTORED = "restored"


def line(restores: Sequence[tuple[int, int]], end: int) -> list[range]:
    """The positions of the events that lead to the state at `end`, in order.

    restores: (seq, to) of every `restore.done`, in order. The state at `end` is that of the last restore's `to`, as it
    was there, and the events since; a restore before that `to` cuts again, one between them never happened.
    """
    ranges = []
    for seq, to in reversed(restores):
        if seq <= end:
            ranges.append(range(seq, end + 1))
            end = to
    if end > 0:
        ranges.append(range(1, end + 1))
    ranges.reverse()
    return ranges


def decide_restore_end(
    done: RestoreDone, open_now: Iterable[Task], open_then: Iterable[Task], floor: int = 0
) -> list[NewEvent]:
    """The append that completes a restore: `restore.done` and the end, cancelled, of every open run and task.

    open_now: tasks open at the head; open_then: those open at `done.to`, as they were. Append it with `floors`; it
    conflicts where an open task has moved since the rows were read.
    """
    now = {task.id: task for task in open_now}
    then = {task.id: task for task in open_then}
    ended_then = {subject for task in then.values() for subject, _ in _ends(task)}
    before: list[NewEvent] = []
    after: list[NewEvent] = []
    versions: dict[str, int] = {}
    for task in now.values():
        for subject, event in _ends(task):
            versions[subject] = max(_version(task, event), floor)
            if subject not in ended_then:
                before.append(NewEvent(subject, event, versions[subject]))
    for task in then.values():
        after.extend(NewEvent(subject, event, versions.get(subject)) for subject, event in _ends(task))
    return [*before, NewEvent(f"restore:{done.restore}", done), *after]


def _ends(task: Task) -> list[tuple[str, RunEnded | TaskFinished]]:
    ends: list[tuple[str, RunEnded | TaskFinished]] = []
    for slot in task.slots:
        if (run := slot.live) is not None:
            ended = RunEnded(run.id, task.id, run.agent, "cancelled", source="maestro", evidence=RESTORED)
            ends.append((f"run:{run.id}", ended))
    finished = TaskFinished(task.id, "cancelled", "cancelled", source="maestro", reason=RESTORED)
    return [*ends, (f"task:{task.id}", finished)]


def _version(task: Task, fact: RunEnded | TaskFinished) -> int:
    if isinstance(fact, TaskFinished):
        return task.version
    return next(slot.runs[-1].version for slot in task.slots if slot.runs and slot.runs[-1].id == fact.run)
