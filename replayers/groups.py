"""Durable readers: a group has a position of its own in the store, and sees each event at least once, in order.

The position moves when the reader says that it has taken the events, so that one which dies between reading and
taking sees them again.
"""

from __future__ import annotations

from maestro.model.events import Event
from maestro.model.ids import check_id
from maestro.store.contract import Store


class Group:
    """One group's place in the log of a store."""

    def __init__(self, store: Store, name: str, start: int = 0) -> None:
        """start: where a group that is new begins, behind this position. Raises Invalid for a name that is no id."""
        self._log = store.log
        self._name = check_id(name, "group")
        known = self._log.cursor_get(name)
        self.position = start if known is None else known

    def read(self, count: int, block_ms: int | None = None) -> list[Event]:
        """The next events behind the position, waiting for the first up to block_ms; they are not taken yet."""
        if block_ms is None:
            return self._log.read(self.position, count)
        return self._log.follow(self.position, count, block_ms)

    def taken(self, seq: int) -> None:
        """Events up to this position are done with: no reader of the group sees them again."""
        self._log.cursor_set(self._name, seq)
        self.position = seq
