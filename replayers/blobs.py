"""Finds the blobs that events name: those that a collection must keep, and those that belong to a segment."""

from __future__ import annotations

import re

import msgspec

from maestro.model.events import (
    AnyFact,
    BlobRef,
    Event,
    RestoreAsked,
    RunEnded,
    ScheduleAdded,
    StateSet,
    StepEnded,
    StepStarted,
    TaskDispatched,
    Text,
    WorkflowRunFinished,
    WorkflowRunStarted,
    WorkflowStored,
)
from maestro.store.codec import event_of
from maestro.store.contract import Entry, Store

NAME = re.compile(r"[0-9a-f]{64}")


def named(store: Store, held: bool = False) -> frozenset[str]:
    """SHA-256 of every blob that some event names. Reads the whole log.

    held: read only the events that the store itself holds; the blobs of trimmed events are kept with the segments.
    """
    found: set[str] = set()
    after = max(0, store.log.first() - 1) if held else 0
    for events in store.log.scan(after, store.log.head().seq):
        for event in events:
            found.update(_of(event))
    return frozenset(found)


def named_by(entry: Entry) -> list[str]:
    """SHA-256 of the blobs that one entry names."""
    if b"blob" not in entry.data:
        return []
    return [name for name in _of(event_of(entry)) if NAME.fullmatch(name)]


def _of(event: Event) -> list[str]:
    return [blob for text in _texts(event.fact) for blob in _in_text(text)]


def _texts(fact: AnyFact) -> list[Text]:
    """All texts of a fact that may be kept apart."""
    match fact:
        case TaskDispatched(prompt=text, brings=brings):
            return [text, *brings.values()]
        case RunEnded() | StepEnded():
            return [fact.result, fact.output, fact.check, *fact.files.values()]
        case (
            StateSet(value=text)
            | StepStarted(told=text)
            | WorkflowRunFinished(result=text)
            | ScheduleAdded(request=text)
            | RestoreAsked(options=text)
        ):
            return [text]
        case WorkflowStored(definition=definition, source=source):
            return [definition, source]
        case WorkflowRunStarted(definition=definition, children=children, reused=reused, brings=brings):
            kept = [text for told in reused.values() for text in _texts(told)]
            return [definition, children, *brings.values(), *kept]
    return []


def _in_text(text: Text) -> list[str]:
    """The blob of a text; a task's result for several agents is JSON that may name blobs inside."""
    if isinstance(text, BlobRef):
        return [text.blob]
    if '"blob"' not in text:
        return []
    try:
        parts = msgspec.json.decode(text, type=dict[str, Text])
    except msgspec.DecodeError:
        return []
    return [part.blob for part in parts.values() if isinstance(part, BlobRef)]
