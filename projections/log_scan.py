"""The log as it passes by a fold: in order, in lists, the next one asked for while this one is worked on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import LogStore

AT_A_TIME = 200
"""Entries asked for at once: few enough to be still in the processor's cache when they are decoded and folded."""


def passing(log: LogStore, after: int, upto: int, at_a_time: int = AT_A_TIME) -> Iterator[list[Event]]:
    """The events after+1..upto, in lists of at_a_time.

    Events and rows have no cycles but are many, and looking through them for garbage again and again would take as
    long as the fold itself. So the collector rests until the iteration ends or is closed.
    """
    rested = gc.isenabled()
    gc.disable()
    try:
        yield from log.scan(after, upto, at_a_time)
    finally:
        if rested:
            gc.enable()
