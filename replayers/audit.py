"""The audit: who did what, when and why, from the log, for all subjects or one.

The story of a task is its own events, those of its runs, the end of each task that it waited for, and its result in the
state; that of a workflow's run has the stories of its tasks in it; that of a schedule its firings, and what these
began. It is found by following the links between a subject's events, so its cost is that of its length; that of an
alert, a snapshot or a restore is found so, too. Where a restore has cut these links, and for all other subjects, the
whole log is read, since what a restore undid stays part of the story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.errors import NotFound
from maestro.model.events import Event
from maestro.model.ids import shown, task_of_run
from maestro.model.target import who
from maestro.model.task import Task
from maestro.store.codec import event_of
from maestro.store.contract import Store
from maestro.store.keys import FLOOR, HORIZON
from projections import restores, snapshots
from projections.monitoring import alerts
from projections.view_reader import Found, Views
from replayers.chain import CheckedReader
from replayers.positions import rfc3339
from replayers.run_story import concerns_run, linked_run, story

CHUNK = 1000
EXPIRED_TOO = 0
"""A time at which no key of the state has expired yet: finds expired keys too."""
KINDS = frozenset({"type", "agent", "workspaces", "node", "task", "run", "state", "snapshot", "restore", "log"})
KINDS |= {"workflow", "workflow-run", "alert", "webhook", "delivery", "schedule", "firing", "forward", "setting"}

SHORT = {"alert": alerts.NAME, "snapshot": snapshots.NAME, "restore": restores.NAME, "delivery": "", "forward": ""}
"""The kinds of subjects of which there are many with few events each, and the view that the index knows them by."""


class Query(msgspec.Struct, frozen=True):
    """What to audit.

    subject: a subject as the log names it, or an id; None for all.
    since: the first position.
    types: the names of event types, or of families of types; none for all.
    """

    subject: str | None = None
    since: int = 0
    types: tuple[str, ...] = ()


class StoryLine(msgspec.Struct, frozen=True):
    """One event of a story. because: the event that led to it, in words, if its cause is an event."""

    event: Event
    because: str


def further(query: Query, after: int) -> Query:
    """The query for what comes behind a position."""
    return msgspec.structs.replace(query, since=after + 1)


def page(store: Store, query: Query, log: CheckedReader | None = None) -> tuple[list[StoryLine], int]:
    """The next lines, and the position up to which the log was read. No lines: there are none up to its end.

    log: reads the log; afterwards its `found` tells whether an entry was altered.

    Raises NotFound for a subject without any event.
    """
    log = log or CheckedReader(store.log)
    head = store.log.head().seq
    subject = None if query.subject is None else find_subject(store, query.subject)
    task = _task(store, subject)
    if task is not None and query.since <= task.position:
        return _lines(log, _linked(store, task, log), query), head
    kind, _, name = (subject or "").partition(":")
    run = linked_run(store, name) if kind == "workflow-run" else None
    if run is not None and query.since <= run.position:
        return _lines(log, story(store, run, log.event, lambda task: _linked(store, task, log)), query), head
    if subject is not None and kind in SHORT and (events := _indexed(store, log, subject)):
        return _lines(log, events, query), head
    concerns = _concerns(subject)
    after, lines = max(query.since, 1) - 1, list[StoryLine]()
    while after < head and not lines:
        events = [event_of(entry) for entry in log.entries(after, min(CHUNK, head - after))]
        if not events:
            break
        concerns = concerns_run(store, name, events) if kind == "workflow-run" else concerns
        lines = _lines(log, filter(concerns, events), query)
        after = events[-1].seq
    return lines, after


def plain(line: StoryLine) -> dict[str, Any]:
    """A line as JSON-ready data, `data` with the fields of the fact."""
    event = line.event
    fact = event.fact
    data = msgspec.to_builtins(fact) if not isinstance(fact, e.Unrecognised) else {"v": fact.v}
    return {
        "seq": event.seq,
        "time": rfc3339(event.at),
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "cause": event.cause,
        "because": line.because,
        "data": data,
    }


def find_subject(store: Store, text: str) -> str:
    """The subject that a user means: as the log names it, or the id of a task, an agent, a node, a type, a key, a
    workflow or a run of one.

    Raises NotFound where there is none.
    """
    views = Views(store)
    kind, colon, _ = text.partition(":")
    if colon and kind in KINDS:
        if not _has_version(store, text):
            raise NotFound(
                f"nothing is known of {shown(text)}", mend="audit without a subject shows all", sought=("subject", text)
            )
        return text
    task = task_of_run(text)
    if task and "." in text.removeprefix(task) and views.task(task).row:
        return f"run:{text}"
    finders: tuple[tuple[str, Callable[[str], Any]], ...] = (
        ("task", views.task),
        ("agent", views.agent),
        ("node", views.node),
        ("type", views.type),
        ("workflow", views.workflow),
        ("workflow-run", views.workflow_run),
        ("state", lambda key: views.state(key, EXPIRED_TOO)),
    )
    for name, find in finders:
        if find(text).row is not None:
            return f"{name}:{text}"
    if _was_dispatched(store, text):
        return f"task:{text}"
    raise NotFound(
        f"there is no task, agent, node, type, key or workflow {shown(text)}",
        mend="name it as in task:<id>",
        sought=("subject", text),
    )


def _has_version(store: Store, subject: str) -> bool:
    """Whether anything may be known of a subject. Of one whose version was forgotten the views tell what has ended;
    what is no row then may have been there.
    """
    kind, _, name = subject.partition(":")
    if store.log.version(subject) or (kind == "schedule" and store.log.version(_firing_of(subject))):
        return True
    views = Views(store)
    if kind in ("state", "restore", "delivery", "forward"):
        return HORIZON in store.log.versions([HORIZON])
    if kind == "run":
        return views.task(task_of_run(name)).row is not None
    find: dict[str, Callable[[str], Found[Any]]] = {
        "task": views.task,
        "workflow-run": views.workflow_run,
        "alert": views.alert,
        "snapshot": views.snapshot,
    }
    return kind in find and find[kind](name).row is not None


def _indexed(store: Store, log: CheckedReader, subject: str) -> list[Event]:
    """All events of an alert, a snapshot, or their like: by the index of sealed history, up to where versions may have
    been forgotten, and by their links from the last one from there on. None where a restore has cut these.
    """
    kind, _, name = subject.partition(":")
    sealed, held = store.log.sealed, store.log.versions([HORIZON, subject])
    horizon = held.get(HORIZON, 0) if SHORT[kind] and sealed is not None else 0
    if held.get(FLOOR, 0) > horizon:
        return []
    found, end = list[Event](), held.get(subject, 0)
    while end > horizon and (event := log.event(end)) is not None:
        found.append(event)
        end = event.prev
    if sealed is not None and horizon:
        places = sealed.positions(store.log, SHORT[kind], [name], horizon).get(name, [])
        found += [event for place in reversed(places) if (event := log.event(place)) is not None]
    return found[::-1]


def _firing_of(schedule: str) -> str:
    """The subject of what has fired of a schedule; one of a workflow has no other. schedule: its subject."""
    return f"firing:{schedule.partition(':')[2]}"


def _was_dispatched(store: Store, task: str) -> bool:
    """Whether a task of this id was undone by a restore. Cost: O(history), where there were restores."""
    after, floor = 0, store.log.head().floor
    while after < floor:
        events = store.log.read(after, CHUNK)
        if any(isinstance(event.fact, e.TaskDispatched) and event.fact.task == task for event in events):
            return True
        after = events[-1].seq if events else floor
    return False


def _task(store: Store, subject: str | None) -> Task | None:
    """The task of a subject, if links lead through its whole story: no restore came after its dispatch."""
    kind, _, name = (subject or "").partition(":")
    if kind != "task":
        return None
    found = Views(store).task(name)
    if found.row is None or found.checkpoint.floor > found.row.position:
        return None
    return found.row


def _linked(store: Store, task: Task, log: CheckedReader) -> list[Event]:
    """The story of a task, found by links from the versions in its row."""
    views = Views(store)
    found: dict[int, Event] = {}
    ends = [task.version, *(run.version for slot in task.slots for run in slot.runs)]
    result = views.state(f"task:{task.id}:result", EXPIRED_TOO).row
    if result is not None:
        ends.append(result.version)
    for end in ends:
        seq, about = end, ""
        while seq > 0 and seq not in found and (event := log.event(seq)) is not None:
            if event.subject != (about := about or event.subject):
                break  # the first event of a subject behind a restore links to the end of that
            found[seq] = event
            seq = event.prev
    for name in task.depends_on:
        needed = views.task(name).row
        event = None if needed is None or needed.open else log.event(needed.version)
        if event is not None:
            found[event.seq] = event
    return [found[seq] for seq in sorted(found)]


def _concerns(subject: str | None) -> Callable[[Event], bool]:
    """The predicate whether an event is part of a subject's story."""
    if subject is None:
        return bool
    kind, _, name = subject.partition(":")
    about = f"task:{name}:result"

    def of_task(event: Event) -> bool:
        return (
            event.subject == subject
            or getattr(event.fact, "task", None) == name
            or (event.subject.startswith("state:") and getattr(event.fact, "key", None) == about)
        )

    def of_agent(event: Event) -> bool:
        fact = event.fact
        named = isinstance(fact, e.TaskDispatched) and name in map(who, fact.targets)
        return event.subject == subject or getattr(fact, "agent", None) == name or named

    def of_schedule(event: Event) -> bool:
        return event.subject in (subject, _firing_of(subject)) or event.actor == subject

    of_kind = {"task": of_task, "agent": of_agent, "schedule": of_schedule}
    return of_kind.get(kind, lambda event: event.subject == subject)


def _is_wanted(event: Event, query: Query) -> bool:
    return not query.types or any(f"{event.type}.".startswith(f"{wanted}.") for wanted in query.types)


def _lines(log: CheckedReader, events: Iterable[Event], query: Query) -> list[StoryLine]:
    lines = []
    for event in events:
        if event.seq < query.since or not _is_wanted(event, query):
            continue
        led = log.event(int(event.cause)) if event.cause.isascii() and event.cause.isdigit() else None
        lines.append(StoryLine(event, f"{led.type} {led.subject}" if led else ""))
    return lines
