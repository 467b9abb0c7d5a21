"""The events of one subject, found by the links from each to the one before it, not by reading the log. Blocks."""

from __future__ import annotations

from maestro.model.events import Event
from maestro.store.contract import Store


def events_behind(store: Store, subject: str, after: int, count_max: int = 0) -> list[Event] | None:
    """The events of a subject behind a position, in order; None where a restore has taken the subject away since.

    count_max: no more than the last so many; 0 for all.
    """
    found: list[Event] = []
    seq = store.log.version(subject)
    while seq > after and not 0 < count_max <= len(found):
        event = store.log.event(seq)
        if event is None or event.subject != subject:
            return found[::-1] or None
        found.append(event)
        seq = event.prev
    return found[::-1]
