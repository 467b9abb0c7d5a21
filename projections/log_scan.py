"""Scans the log for a fold: in order, in lists, the next list requested while one is folded."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import LogStore

AT_A_TIME = 200
"""Entries requested at once: few enough to be still in the processor's cache when they are decoded and folded."""


def scan_log(log: LogStore, after: int, upto: int, at_a_time: int = AT_A_TIME) -> Iterator[list[Event]]:
    """The events after+1..upto, in lists of at_a_time.

    Events and rows have no reference cycles but are many, so that searching them for garbage again and again would take
    as long as the fold itself. So the garbage collector is disabled until the iteration ends or is closed.
    """
    rested = gc.isenabled()
    gc.disable()
    try:
        yield from log.scan(after, upto, at_a_time)
    finally:
        if rested:
            gc.enable()
