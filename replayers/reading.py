"""How replayers read the log: all of it, in order, in lists, the next one asked for while this one is worked on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import Store


def history(store: Store, after: int = 0, upto: int | None = None) -> Iterator[list[Event]]:
    """The events after+1..upto (default: all that there are now).

    Events and rows have no cycles but are many, and looking through them for garbage again and again would take as
    long as the replay itself. So the collector rests until the iteration ends or is closed.
    """
    end = store.log.head().seq if upto is None else upto
    rested = gc.isenabled()
    gc.disable()
    try:
        yield from store.log.scan(after, end)
    finally:
        if rested:
            gc.enable()
