"""A run as it was at a position: what it was told and read, its story, how its outcome was judged. All calls block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from maestro.board.rows.past_context import PastContext
from maestro.model import events as e
from maestro.model.errors import MaestroError, NotFound
from maestro.model.events import BlobRef, Event, Text
from maestro.model.facts.permission import TaskPermissionAnswered, TaskPermissionAsked
from maestro.model.ids import shown, task_of_run
from maestro.model.task import Run, Task
from maestro.printable_text import plain
from maestro.runtime.node.run_reader import run_events
from maestro.runtime.server.rows import Row, task_row, when
from maestro.store.codec import event_of
from maestro.store.contract import Entry, Store
from replayers import export

EVENTS_MAX = 500
"""So many of the newest events of a run are told, and of its task."""
TEXT_BYTES_MAX = 256 * 1024
NEAR = 32
"""The events of a step and of its task stand so close together, nearly always."""


class FoundRun(NamedTuple):
    """A run, and the task that it is an attempt of, as they were."""

    task: Task
    run: Run


def find(context: PastContext, name: str) -> FoundRun:
    """A run at the position of a context. Raises NotFound where there was none."""
    task = context.views.task(task_of_run(name)).row
    if task is not None:
        for run in (run for slot in task.slots for run in slot.runs):
            if run.id == name:
                return FoundRun(task, run)
    what = f"there was no run {shown(name)} at position {context.past.position}"
    raise NotFound(what, mend="go to a later position, or look at the task")


def told(context: PastContext, found: FoundRun) -> Row:
    """All that the log tells of a run; without its output."""
    store, (task, run) = context.store, found
    entries = _story(store, f"run:{run.id}", run.version, run.token)
    of_task = _story(store, f"task:{task.id}", task.version, task.position)
    dispatched = next((event.fact for event in map(event_of, of_task[:1])), None)
    prompt = dispatched.prompt if isinstance(dispatched, e.TaskDispatched) else ""
    row = next(each for each in task_row(task)["runs"] if each["id"] == run.id)
    return {
        **{key: row[key] for key in ("agent", "node", "attempt", "status", "session", "workspace", "permissions")},
        **{key: row[key] for key in ("released_at", "started_at", "ended_at", "duration_s", "usage")},
        "run": run.id,
        "task": task.id,
        "title": task.title,
        **_text(store, prompt, "prompt"),
        "read": _read(context, task, dispatched),
        "timeline": _timeline(run, entries, of_task),
        "evidence": _evidence(context, found),
        "events": [msgspec.json.decode(msgspec.json.encode(export.plain(entry))) for entry in entries],
    }


def _story(store: Store, subject: str, last: int, first: int) -> list[Entry]:
    """The events of a subject between two positions, by the links between them: the first, and the newest others."""
    found: list[Entry] = []
    seq = last
    while seq > first and len(found) < EVENTS_MAX - 1 and (entry := _entry(store, seq)) is not None:
        if entry.subject != subject.encode():
            break  # the first event of a subject behind a restore links to the end of that
        found.append(entry)
        seq = entry.prev
    begin = _entry(store, first)
    return ([begin] if begin is not None and begin.subject == subject.encode() else []) + found[::-1]


def _entry(store: Store, seq: int) -> Entry | None:
    entries = store.log.entries(seq - 1, 1) if seq > 0 else []
    return entries[0] if entries and entries[0].seq == seq else None


def _text(store: Store, text: Text, name: str) -> Row:
    """A text, or the beginning of a long one (`…_cut`); None where it is not there any more (`…_why`)."""
    why = "its text is not in the store any more"
    try:
        data = text.encode("utf-8", "replace") if isinstance(text, str) else store.blobs.get(text.blob)
    except MaestroError as error:
        data, why = None, error.line()
    if data is None:
        return {name: None, f"{name}_bytes": 0, f"{name}_cut": False, f"{name}_why": why}
    is_cut = len(data) > TEXT_BYTES_MAX
    said = data[:TEXT_BYTES_MAX].decode("utf-8", "ignore" if is_cut else "replace")
    return {name: said, f"{name}_bytes": len(data), f"{name}_cut": is_cut, f"{name}_why": None}


# ---- what it read ----


def _read(context: PastContext, task: Task, dispatched: object) -> list[Row]:
    """What a run was given beside its prompt: tasks that it waited for, files, and what its templates read."""
    found: list[Row] = []
    for name in task.depends_on:
        needed = context.views.task(name).row
        found.append({"kind": "task", "name": name, "value": None if needed is None else needed.status})
    if isinstance(dispatched, e.TaskDispatched):
        found += [{"kind": "file", "name": path, "value": ref.size} for path, ref in sorted(dispatched.brings.items())]
        if dispatched.session:
            found.append({"kind": "session", "name": dispatched.session, "value": None})
    started = _step_of(context, task) if task.workflow else None
    if started is not None:
        found += [{"kind": "value", "name": name, "value": value} for name, value in started.read.items()]
    return found


def _step_of(context: PastContext, task: Task) -> e.StepStarted | None:
    """The start of the step that a task is an attempt of."""

    def started(events: list[Event]) -> e.StepStarted | None:
        facts = (event.fact for event in events)
        return next((fact for fact in facts if isinstance(fact, e.StepStarted) and fact.task == task.id), None)

    log = context.store.log
    near = started(log.read(max(0, task.position - NEAR), 2 * NEAR))
    header = context.views.workflow_run(task.workflow).row if near is None else None
    if header is None:
        return near
    try:
        return started(run_events(log, header))
    except MaestroError:
        return None


# ---- its story ----


def _timeline(run: Run, entries: list[Entry], of_task: list[Entry]) -> list[Row]:
    found: list[Row] = []
    for event in sorted(map(event_of, entries + of_task), key=lambda event: event.seq):
        fact = event.fact
        if getattr(fact, "run", run.id) != run.id or (event.seq > run.version and run.status == "ended"):
            continue
        tell = TOLD.get(type(fact))
        if tell is not None:
            found.append({"at": when(event.at), "position": event.seq, "what": plain(tell(event, fact))})
    return found


def _ended(_: Event, fact: e.RunEnded) -> str:
    code = f", exit code {fact.exit_code}" if fact.exit_code is not None else ""
    signal = f", signal {fact.signal}" if fact.signal is not None else ""
    return f"ended: {fact.outcome}{code}{signal}"


TOLD: dict[type[object], Callable[[Event, Any], str]] = {
    e.TaskDispatched: lambda event, _: f"dispatched by {event.actor}",
    e.TaskRetried: lambda event, _: f"retried by {event.actor}",
    e.TaskCancelRequested: lambda event, fact: _because(f"cancel requested by {event.actor}", fact.reason),
    e.RunReleased: lambda _, fact: _because(f"released to {fact.node or 'any node'}", fact.reason),
    e.RunStarted: lambda _, fact: f"started on {fact.node} in {fact.workspace}",
    e.RunSessionOpened: lambda _, fact: f"session {fact.session}",
    TaskPermissionAsked: lambda _, fact: f"asks for permission {fact.number}: {fact.title}",
    TaskPermissionAnswered: lambda _, fact: _because(f"permission {fact.number}: {fact.answer}", fact.reason),
    e.RunEnded: _ended,
    e.RunParked: lambda _, fact: _because(f"parked after {fact.losses} losses", fact.reason),
}
"""The events of the timeline, each in words."""


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


# ---- its outcome ----


def _evidence(context: PastContext, found: FoundRun) -> Row:
    store, (task, run) = context.store, found
    return {
        "outcome": run.outcome or None,
        "why": run.evidence or None,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "source": run.source or None,
        **_text(store, run.result, "result"),
        "verify": task.verify or None,
        "check": _text(store, run.check, "check")["check"] or None,
        "error": run.error or None,
        "files": [_file(path, ref) for path, ref in sorted(run.files.items())],
        "patterns": list(_patterns(context, run.agent)),
    }


def _file(path: str, ref: BlobRef) -> Row:
    return {"path": path, "bytes": ref.size}


def _patterns(context: PastContext, agent: str) -> Iterator[Row]:
    """The rules by which the end of a run of an agent is judged, as it is assigned at the position."""
    row = context.views.agent(agent).row
    success = row.definition.get("success") if row is not None else None
    for name, rule in success.items() if isinstance(success, dict) else ():
        if rule not in (None, "", [], False):
            yield {"rule": name, "value": rule if isinstance(rule, str) else msgspec.json.encode(rule).decode()}
