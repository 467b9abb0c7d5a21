"""Rebuilds the run of a workflow from its events, which are found by following the links between them.

From the header's last event each leads to the one before it, down to the start of the run, so that the cost is that of
the run, not of the log. Where a restore has cut a link, the events before it are looked for on the line that holds.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import NotFound, VerificationFailed
from maestro.model.events import Event, Text, WorkflowRunStarted
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.read_context import ReadContext
from maestro.store.codec import event_of
from maestro.store.contract import Entry, LogStore, Store
from projections.lineage import Line, find_cuts

AHEAD_MAX = 512
"""Entries that are read at once where the events of a run stand close together."""
AHEAD_MIN = 8
CHUNK = 500

_definition = msgspec.json.Decoder(Workflow)


async def run_of(context: ReadContext, header: RunHeader) -> tuple[Run, list[Event]]:
    """A run and its events, for a handler. Raises as `read_run`."""
    return await context.call(read_run, context.store, header)


def read_run(store: Store, header: RunHeader) -> tuple[Run, list[Event]]:
    """A run as it is at the header's last event, and its events. Raises VerificationFailed where some are missing."""
    events = run_events(store.log, header)
    started = events[0].fact
    if not isinstance(started, WorkflowRunStarted):
        raise VerificationFailed(f"event {events[0].seq} does not start the run {header.id}", "log")
    run = Run(started, events[0].at, definition_of(store, started.definition))
    for event in events[1:]:
        run.apply(event.fact, event.at, event.actor)
    return run, events


def paused_at(log: LogStore, header: RunHeader) -> int:
    """When a run was paused that is so, ms; 0 where the links of the log do not lead there, as a restore cut them.

    Little follows a pause, so it is found close to the run's last event.
    """
    subject = f"workflow-run:{header.id}".encode()
    reading = _Backwards(log)
    seq = header.seq
    while seq >= header.position:
        entry = reading.entry(seq)
        if entry is None or entry.subject != subject:
            return 0
        if entry.type == b"workflow_run.paused":
            return entry.at
        seq = entry.prev
    return 0


def definition_of(store: Store, definition: Text) -> Workflow:
    """The definition of a run, fetched where it is a blob. Raises NotFound where that is gone."""
    data: bytes | str | None = definition if isinstance(definition, str) else store.blobs.get(definition.blob)
    if data is None:
        raise NotFound("the definition of the run is not in the store any more")
    return _definition.decode(data)


def run_events(log: LogStore, header: RunHeader, after: int = 0) -> list[Event]:
    """The events of a run behind position `after`, up to the header's last one, in order.

    Raises VerificationFailed where one of them is missing.
    """
    subject = f"workflow-run:{header.id}".encode()
    first = max(header.position, after + 1)
    floor = log.head().floor
    line = Line(find_cuts(log, floor)) if floor >= first else None
    reading = _Backwards(log)
    found: list[Event] = []
    seq = header.seq
    while seq >= first:
        entry = reading.entry(seq)
        if entry is None:
            raise VerificationFailed(f"event {seq} of the run {header.id} is missing", "log")
        if entry.subject != subject:
            if line is None:
                raise VerificationFailed(f"event {seq} is none of the run {header.id}", "log")
            seq = _last_before(log, line, subject, (first, seq))
            continue
        if line is None or line.holds(seq):
            found.append(event_of(entry))
        seq = entry.prev
    return found[::-1]


def _last_before(log: LogStore, line: Line, subject: bytes, between: tuple[int, int]) -> int:
    """The last event of a subject that holds, at or behind the first and before the last of two positions; 0 for none.

    A restore cuts the links of all subjects: the events behind it lead to its own end. Cost: O(what lies between).
    """
    first, before = between
    for begin, end in reversed(line.ranges):
        last = min(end, before - 1)
        while last >= max(begin, first):
            after = max(begin, first, last - CHUNK + 1) - 1
            for entry in reversed(log.entries(after, last - after)):
                if entry.subject == subject and entry.seq <= last:
                    return entry.seq
            last = after
    return 0


class _Backwards:
    """Reads entries from the end of a log to its beginning: several at once where those that are wanted are close."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._entries: list[Entry] = []
        self._first = 0
        self._ahead = AHEAD_MIN

    def entry(self, seq: int) -> Entry | None:
        """The entry at a position, None where there is none."""
        if not self._first <= seq < self._first + len(self._entries):
            if self._entries:
                near = self._first - self._ahead <= seq < self._first
                self._ahead = min(AHEAD_MAX, self._ahead * 4) if near else max(1, self._ahead // 4)
            after = max(0, seq - self._ahead)
            self._entries = self._log.entries(after, seq - after)
            self._first = after + 1
        place = seq - self._first
        found = self._entries[place] if place < len(self._entries) else None
        return found if found is not None and found.seq == seq else None
