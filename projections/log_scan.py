"""Scans the log for a fold: in order, in lists, the next list requested while one is folded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from maestro.model.events import Event
from maestro.store.contract import LogStore

AT_A_TIME = 200
"""Entries requested at once: few enough to be still in the processor's cache when they are decoded and folded."""


def scan_log(log: LogStore, after: int, upto: int, at_a_time: int = AT_A_TIME) -> Iterator[list[Event]]:
    """The events after+1..upto, in lists of at_a_time. The garbage collector rests until the iteration ends or is
    closed.
    """
    with collector_at_rest():
        yield from log.scan(after, upto, at_a_time)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Context in which the garbage collector does not run.

    Events and rows have no reference cycles but are many, so that searching them for garbage again and again would take
    as long as the work itself.
    """
    rested = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if rested:
            gc.enable()
