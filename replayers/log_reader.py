"""How replayers read the log: all of it, in order, in lists."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.model.events import Event
from maestro.store.contract import Store
from projections.log_scan import scan_log


def history(store: Store, after: int = 0, upto: int | None = None) -> Iterator[list[Event]]:
    """The events after+1..upto (default: all that there are now)."""
    return scan_log(store.log, after, store.log.head().seq if upto is None else upto)
