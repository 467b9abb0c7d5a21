"""The foresight of the scheduler: what it will decide as soon as an event is in the log, to be appended with the event.

That saves a turn of the log. Each event stands under its subject's version and the append under the scheduler's fence,
so the log refuses it where another event has come between; then the event is appended by itself, and the scheduler
decides when it reads it.
"""

from __future__ import annotations

import msgspec

from maestro.model.events import Event, NewEvent, RunEnded, TaskDispatched
from maestro.model.scheduling.endings import Decision, finish
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import Releases
from maestro.model.task import Task, dispatched, evolve


def after_end(plan: Plan, fact: RunEnded) -> list[NewEvent]:
    """The events that end a task together with its last run; none where more has to run, or to be looked at."""
    row = plan.tasks.get(fact.task)
    if row is None or plan.behind or plan.dependencies.failed(row, {}):
        return []
    after = _copy(row)
    evolve(after, Event(plan.seq + 1, f"run:{fact.run}", plan.clock, "", "", 0, fact))
    if any(slot.status != "ended" for slot in after.slots):
        return []
    return finish(after, [slot.outcome for slot in after.slots], plan.floor)


def after_dispatch(plan: Plan, fact: TaskDispatched, now: int) -> Decision | None:
    """The release of a task's only slot, to be appended with its dispatch at `now` (server ms).

    None where no agent can take it at once, or something else is to be decided before it.
    """
    if len(fact.targets) != 1 or fact.depends_on or fact.task in plan.tasks or not _is_quiet(plan, now):
        return None
    row = dispatched(fact, Event(plan.seq + 1, f"task:{fact.task}", now, "", "", 0, fact))
    return Releases(plan, (), now).foresee(row)


def _is_quiet(plan: Plan, now: int) -> bool:
    """Whether there is nothing to decide at `now`."""
    undecided = plan.changed or plan.adrift or plan.ended or plan.released or plan.lanes.offers
    return not (plan.behind or undecided or (plan.lanes.due and plan.lanes.due[0][0] <= now))


def _copy(row: Task) -> Task:
    """A copy of a row as deep as the end of a run changes it: to the last run of each slot."""
    slots = [
        msgspec.structs.replace(slot, runs=[*slot.runs[:-1], *map(msgspec.structs.replace, slot.runs[-1:])])
        for slot in row.slots
    ]
    return msgspec.structs.replace(row, slots=slots)
