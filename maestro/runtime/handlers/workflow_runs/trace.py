"""What happened in a run, in order: when each instance waited and for what, what it was told, what it read and wrote.

All of it comes from the events of the run, of the tasks of its steps, and of what these have written to the state. The
log is read once, from the run's first event to its last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from maestro.model import events as e
from maestro.model.errors import NotFound
from maestro.model.events import AnyFact, BlobRef, Event
from maestro.model.ids import task_of_run
from maestro.model.workflow.instances import instance_id, parse_instance
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.status import named
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.rows import Row, when
from maestro.store.codec import event_of
from maestro.store.contract import Entry

CHUNK = 1000
TEXT_CHARS_MAX = 4000
"""So much of a text is told; the whole is in the event, which the audit shows."""


async def trace_rows(context: ReadContext, header: RunHeader, events: list[Event]) -> list[Row]:
    """The lines of a run's trace: {seq, time, instance, attempt, what, waited_for, waited_s, detail}.

    events: of the run itself.
    """
    story = _Story(events)
    rows = []
    async for event in _with_tasks(context, header, events):
        for row in story.rows(event):
            row["detail"] = {name: await _told(context, value) for name, value in row["detail"].items() if _says(value)}
            rows.append(row)
    return rows


async def _with_tasks(context: ReadContext, header: RunHeader, events: list[Event]) -> Any:
    """The events of a run with those of its tasks in between, in order."""
    own = {event.seq: event for event in events}
    tasks = {event.fact.task.encode() for event in events if isinstance(event.fact, e.StepStarted) and event.fact.task}
    after = header.position - 1
    while after < header.seq:
        entries = await context.call(context.store.log.entries, after, min(CHUNK, header.seq - after))
        if not entries:
            return
        for entry in entries:
            if entry.seq in own:
                yield own[entry.seq]
            elif _concerns(entry, tasks):
                yield event_of(entry)
        after = entries[-1].seq


def _concerns(entry: Entry, tasks: set[bytes]) -> bool:
    """Whether an entry is of a run of these tasks, or was written to the state by one."""
    if entry.subject.startswith(b"run:"):
        return entry.subject[4:].rpartition(b"-")[0] in tasks
    if entry.subject.startswith(b"state:") and entry.actor.startswith(b"run:"):
        return entry.actor[4:].rpartition(b"-")[0] in tasks
    return False


def _says(value: Any) -> bool:
    return value not in (None, "", (), [], {}, 0)


async def _told(context: ReadContext, value: Any) -> Any:
    """A value of an event as it is told: a large text by its beginning."""
    if isinstance(value, BlobRef):
        try:
            text = await context.text(value)
        except NotFound as gone:
            return f"[maestro: {gone.what}]"
        return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]}… ({value.size} bytes)"
    if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        return f"{value[:TEXT_CHARS_MAX]}… ({len(value.encode('utf-8', 'replace'))} bytes)"
    return value


class _Story:
    """Turns events into lines. _waits: by instance, or step, since when it waits, and for what."""

    def __init__(self, events: list[Event]) -> None:
        self._began = events[0].at
        self._waits: dict[str, tuple[int, str]] = {}
        self._attempts: dict[str, int] = {}
        self._instances = {
            event.fact.task: event.fact.instance for event in events if isinstance(event.fact, e.StepStarted)
        }

    def rows(self, event: Event) -> Iterator[Row]:
        """The lines of an event: one, or none."""
        tell = _TELLS.get(type(event.fact))
        if tell is not None:
            row = tell(self, event, event.fact)
            if row is not None:
                yield {"seq": event.seq, "time": when(event.at), **row}

    def _row(self, what: str, instance: str = "", waited: tuple[int, str] | None = None, **detail: Any) -> Row:
        """waited: for how long, ms, and for what."""
        return {
            "instance": instance or None,
            "attempt": self._attempts.get(instance),
            "what": what,
            "waited_for": waited[1] if waited else None,
            "waited_s": round(waited[0] / 1000, 3) if waited else None,
            "detail": detail,
        }

    def _waited(self, instance: str, at: int, default: str = "") -> tuple[int, str] | None:
        """How long an instance has waited, and for what; an item as long as its step."""
        found = self._waits.pop(instance, None)
        parsed = parse_instance(instance)
        if found is None and parsed is not None and parsed[2] is not None:
            found = self._waits.get(instance_id(parsed[0], parsed[1]))
        if found is None:
            return (at - self._began, default) if default else None
        return at - found[0], found[1]

    def _started(self, _event: Event, fact: e.WorkflowRunStarted) -> Row:
        return self._row("run started", params=fact.params, parent=fact.parent, resumed_from=fact.resumed_from)

    def _admitted(self, event: Event, _fact: e.WorkflowRunAdmitted) -> Row:
        return self._row("run admitted", waited=(event.at - self._began, "its group"))

    def _readied(self, event: Event, fact: e.StepReadied) -> Row:
        instance = instance_id(fact.step, fact.round)
        waited = self._waited(instance, event.at, "needs")
        self._waits[instance] = (event.at, "slot" if fact.approval is None else "approval")
        what = {"skip": "skipped", "fail": "failed"}.get(fact.verdict, "ready")
        items = None if fact.items is None else len(fact.items)
        return self._row(what, instance, waited, why=fact.why, items=items, asks=fact.approval, until=when(fact.until))

    def _approved(self, event: Event, fact: e.StepApproved) -> Row:
        waited = self._waited(fact.instance, event.at)
        self._waits[fact.instance] = (event.at, "slot")
        what = "approved" if fact.approved else "rejected"
        by = "its time limit" if fact.timed_out else event.actor
        return self._row(what, fact.instance, waited, by=by, reason=fact.reason)

    def _begun(self, event: Event, fact: e.StepStarted) -> Row:
        waited = self._waited(fact.instance, event.at)
        self._attempts[fact.instance] = fact.attempt
        self._waits[fact.instance] = (event.at, "child" if fact.child else "agent")
        about = {
            "agent": named(fact.agent),
            "task": fact.task,
            "child": fact.child,
            "told": fact.told,
            "read": fact.read,
        }
        return self._row("started", fact.instance, waited, **about)

    def _running(self, event: Event, fact: e.RunStarted) -> Row:
        instance = self._instances.get(fact.task, "")
        waited = self._waited(instance, event.at)
        about = {
            "agent": named(fact.agent),
            "node": fact.node,
            "workspace": fact.workspace,
            "log": f"{fact.folder}/agent.log",
        }
        return self._row("runs", instance, waited, **about)

    def _lost(self, event: Event, fact: e.RunEnded) -> Row | None:
        instance = self._instances.get(fact.task, "")
        if fact.outcome != "lost":
            return None
        self._waits[instance] = (event.at, "agent")
        return self._row("lost", instance, run=fact.run)

    def _wrote(self, event: Event, fact: e.StateSet) -> Row:
        return self._row("wrote state", self._writer(event), key=fact.key, value=fact.value)

    def _deleted(self, event: Event, fact: e.StateDeleted) -> Row:
        return self._row("deleted state", self._writer(event), key=fact.key)

    def _writer(self, event: Event) -> str:
        return self._instances.get(task_of_run(event.actor.removeprefix("run:")), "")

    def _ended(self, event: Event, fact: e.StepEnded) -> Row:
        self._waits[fact.instance] = (event.at, fact.next)
        return self._row(
            fact.status,
            fact.instance,
            outcome=fact.outcome,
            why=fact.why,
            exit_code=fact.exit_code,
            error=fact.error,
            tokens=fact.tokens,
            cost=fact.cost,
            files=[f"{path} ({ref.size} bytes)" for path, ref in fact.files.items()],
            next={"retry": "another attempt", "agent": "the next agent"}.get(fact.next, ""),
            due=when(fact.due),
            result=fact.result,
            output=fact.output,
            check=fact.check,
        )

    def _turned(self, event: Event, fact: e.LoopTurned) -> Row:
        what = "loop begins again" if fact.again else "loop ended"
        if fact.again:
            self._began = event.at
        return self._row(what, instance_id(fact.step, fact.round), outcome=fact.outcome)

    def _called(self, event: Event, fact: e.HandlerCalled) -> Row:
        self._waits[fact.step] = (event.at, "needs")
        return self._row("called", fact.step)

    def _paused(self, event: Event, fact: e.WorkflowRunPaused) -> Row:
        return self._row("run paused", by=event.actor, why=fact.why)

    def _resumed(self, event: Event, fact: e.WorkflowRunResumed) -> Row:
        return self._row("run resumed", by=event.actor, add_tokens=fact.add_tokens, add_cost=fact.add_cost)

    def _ending(self, event: Event, fact: e.WorkflowRunEnding) -> Row:
        return self._row("run ending", by=event.actor, status=fact.status, why=fact.why, step=fact.step)

    def _finished(self, _event: Event, fact: e.WorkflowRunFinished) -> Row:
        return self._row(f"run {fact.status}", why=fact.why, result=fact.result)

    def _archives(self, event: Event, fact: e.WorkspaceArchiveWanted | e.WorkspaceRestoreWanted) -> Row | None:
        wanted = "archive" if isinstance(fact, e.WorkspaceArchiveWanted) else "restore"
        self._waits[f"{wanted} {fact.instance}"] = (event.at, wanted)
        return None

    def _archived(self, event: Event, fact: e.WorkspaceArchived | e.WorkspaceReturned) -> Row:
        wanted = "archive" if isinstance(fact, e.WorkspaceArchived) else "restore"
        waited = self._waited(f"{wanted} {fact.instance}", event.at)
        what = "workspace archived" if wanted == "archive" else "workspace restored"
        return self._row(f"{what}: failed" if fact.error else what, fact.instance, waited,
                         snapshot=fact.snapshot, error=fact.error)  # fmt: skip


_TELLS: dict[type[AnyFact], Callable[[_Story, Event, Any], Row | None]] = {
    e.WorkflowRunStarted: _Story._started,
    e.WorkflowRunAdmitted: _Story._admitted,
    e.WorkflowRunPaused: _Story._paused,
    e.WorkflowRunResumed: _Story._resumed,
    e.WorkflowRunEnding: _Story._ending,
    e.WorkflowRunFinished: _Story._finished,
    e.StepReadied: _Story._readied,
    e.StepApproved: _Story._approved,
    e.StepStarted: _Story._begun,
    e.StepEnded: _Story._ended,
    e.LoopTurned: _Story._turned,
    e.HandlerCalled: _Story._called,
    e.WorkspaceArchiveWanted: _Story._archives,
    e.WorkspaceRestoreWanted: _Story._archives,
    e.WorkspaceArchived: _Story._archived,
    e.WorkspaceReturned: _Story._archived,
    e.RunStarted: _Story._running,
    e.RunEnded: _Story._lost,
    e.StateSet: _Story._wrote,
    e.StateDeleted: _Story._deleted,
}
