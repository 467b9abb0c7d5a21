"""How replayers read the log: all of it, in order, in lists, the next one asked for while this one is worked on."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import Store


def history(store: Store, after: int = 0, upto: int | None = None) -> Iterator[list[Event]]:
    """The events after+1..upto (default: all that there are now)."""
    return store.log.scan(after, store.log.head().seq if upto is None else upto)
