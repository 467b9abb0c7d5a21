"""Durable groups of external readers: each has a position in the store, and gets each event at least once, in order.

The position moves when the reader confirms that it has taken the events, so that a reader which dies between reading
and taking gets them again.
"""

from __future__ import annotations

from maestro.model.events import Event
from maestro.model.ids import check_id
from maestro.store.contract import Store


class Group:
    """One group and its position in the log of a store."""

    def __init__(self, store: Store, name: str, start: int = 0) -> None:
        """Open the group. start: the position behind which a new group begins. Raises Invalid for an invalid name."""
        self._log = store.log
        self._name = check_id(name, "group")
        known = self._log.cursor_get(name)
        self.position = start if known is None else known

    def read(self, count: int, block_ms: int | None = None) -> list[Event]:
        """The next events behind the position, waiting up to block_ms for the first. Does not take them."""
        if block_ms is None:
            return self._log.read(self.position, count)
        return self._log.follow(self.position, count, block_ms)

    def taken(self, seq: int) -> None:
        """Take the events up to this position: the group does not get them again."""
        self._log.cursor_set(self._name, seq)
        self.position = seq
