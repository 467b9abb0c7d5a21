"""The events of one subject, found by the links from each to the one before it, not by reading the log. Blocks."""

from __future__ import annotations

from maestro.model.events import Event
from maestro.store.contract import Store


def events_behind(store: Store, subject: str, after: int) -> list[Event] | None:
    """The events of a subject behind a position, in order; None where a restore has taken the subject away since."""
    found: list[Event] = []
    seq = store.log.version(subject)
    while seq > after:
        event = store.log.event(seq)
        if event is None or event.subject != subject:
            return found[::-1] or None
        found.append(event)
        seq = event.prev
    return found[::-1]
