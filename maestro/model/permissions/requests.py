"""Requests for permission: an agent asks within its run, somebody answers once, and the run goes on by that."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import NewEvent
from maestro.model.facts.permission import TaskPermissionAnswered, TaskPermissionAsked
from maestro.model.ids import shown
from maestro.model.permissions.answers import KINDS, option_of
from maestro.model.permissions.policy import Ruling
from maestro.model.task_row import OPEN_MAX, Permission, Run, Task


def decide_ask(row: Task | None, wanted: TaskPermissionAsked, floor: int = 0) -> list[NewEvent]:
    """Record what the agent of a run asks for; nothing where that is recorded. Raises Refused."""
    run = None if row is None else row.live_run(wanted.run)
    if row is None or run is None:
        raise Refused(f"run {shown(wanted.run)} is not on")
    before = known(run, wanted.number)
    if before is not None:
        if (before.title, before.tool, before.options) != (wanted.title, wanted.tool, wanted.options):
            raise Refused(f"run {run.id} has asked for something else by the number {wanted.number}")
        return []
    if sum(one.is_open for one in run.permissions) >= OPEN_MAX:
        raise Refused(f"run {run.id} asks for more than {OPEN_MAX} permissions at once")
    return [NewEvent(f"task:{row.id}", wanted, max(row.version, floor))]


def decide_ruled(row: Task | None, wanted: TaskPermissionAsked, ruling: Ruling, floor: int = 0) -> list[NewEvent]:
    """Record a request that the policy of the type has decided, and how; nothing where it is recorded.

    Raises Refused as `decide_ask`.
    """
    asked = decide_ask(row, wanted, floor)
    option = option_of(ruling.answer, [(one.id, one.kind) for one in wanted.options])
    fact = TaskPermissionAnswered(wanted.task, wanted.run, wanted.number, ruling.answer, option, ruling.why)
    return [*asked, NewEvent(f"task:{wanted.task}", fact)] if asked else []


def decide_answer(
    task: str, row: Task | None, answer: str, number: int | None, reason: str, floor: int = 0
) -> list[NewEvent]:
    """Answer the request of a task, or the one of that number; nothing where it has that answer already.

    Raises NotFound; Refused where nothing is asked, or it is answered otherwise; Invalid for an answer that is none of
    its options, and where several requests are open and no number is given.
    """
    if row is None:
        raise NotFound(f"there is no task {shown(task)}", mend="maestro task list shows all", sought=("task", task))
    asked = [pair for pair in requests(row) if number is None or pair[1].number == number]
    opened = [pair for pair in asked if pair[1].is_open]
    if not opened:
        last = asked[-1][1] if asked else None
        if last is not None and option_of(answer, last.choices) == last.option:
            return []
        what = f"was answered before: {last.answer}" if last is not None else "asks for nothing"
        raise Refused(f"task {task} {what}", mend=f"maestro task status {task} shows its runs")
    if len(opened) > 1:
        numbers = ", ".join(f"{one.number} ({shown(one.title)})" for _, one in opened)
        raise Invalid(f"task {task} asks for several permissions: {numbers}", mend="say which: --number N")
    run, request = opened[0]
    option = option_of(answer, request.choices)
    if not option:
        known_answers = [one for one in KINDS if option_of(one, request.choices)] + [
            name for name, _ in request.choices
        ]
        mend = f"answer with one of {', '.join(known_answers) or 'none: cancel the task'}"
        raise Invalid(f"{shown(answer)} is no answer to {shown(request.title)}", mend=mend)
    return [_answered(row, TaskPermissionAnswered(row.id, run.id, request.number, answer, option, reason), floor)]


def decide_lapse(row: Task | None, run_id: str, number: int, reason: str, floor: int = 0) -> list[NewEvent]:
    """Reject a request that nobody has answered in time; nothing where it is answered, or its run has ended."""
    run = None if row is None else row.live_run(run_id)
    request = None if run is None else known(run, number)
    if row is None or run is None or request is None or not request.is_open:
        return []
    option = option_of("reject", request.choices)
    return [_answered(row, TaskPermissionAnswered(row.id, run.id, number, "reject", option, reason), floor)]


def _answered(row: Task, fact: TaskPermissionAnswered, floor: int) -> NewEvent:
    return NewEvent(f"task:{row.id}", fact, max(row.version, floor))


def known(run: Run, number: int) -> Permission | None:
    """The request of that number."""
    return next((one for one in run.permissions if one.number == number), None)


def requests(row: Task) -> Iterator[tuple[Run, Permission]]:
    """The requests of the runs of a task that are on, in the order in which they were asked."""
    live = [slot.live for slot in row.slots if slot.live is not None]
    found = [(run, one) for run in live for one in run.permissions]
    return iter(sorted(found, key=lambda pair: pair[1].asked_at))


def asked_words(row: Task) -> tuple[str, int]:
    """What a task waits for whose agents ask leave, by the oldest request, and since when; ("", 0) for none."""
    one = next((one for _, one in requests(row) if one.is_open), None)
    if one is None or row.cancel is not None:
        return "", 0
    return words_of(one), one.asked_at


def words_of(request: Permission) -> str:
    """What a run waits for that has asked, in words."""
    return f"the answer to its agent, which asks for permission {request.number}: {shown(request.title)}"
