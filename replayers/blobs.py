"""Finds the blobs that events name: those that a collection must keep, and those that belong to a segment."""

from __future__ import annotations

import re

import msgspec

from maestro.model.events import BlobRef, Event, RunEnded, StateSet, TaskDispatched, Text
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
    match event.fact:
        case TaskDispatched(prompt=text) | RunEnded(result=text) | StateSet(value=text):
            return _in_text(text)
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
