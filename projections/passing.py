"""The log as it passes by a fold: in order, in lists, the next one asked for while this one is worked on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import LogStore


def passing(log: LogStore, after: int, upto: int) -> Iterator[list[Event]]:
    """The events after+1..upto.

    Events and rows have no cycles but are many, and looking through them for garbage again and again would take as
    long as the fold itself. So the collector rests until the iteration ends or is closed.
    """
    rested = gc.isenabled()
    gc.disable()
    try:
        yield from log.scan(after, upto)
    finally:
        if rested:
            gc.enable()
