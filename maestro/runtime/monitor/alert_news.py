"""The events that alerts tell of, each taken in by the leader once: as they come, or from the log where it was not yet.

How far they were taken in is kept in the store, as the position of a reader. Where that is lost, or too early, events
are taken in again, which does no harm: what was told stands in the log, at the alert's own row.
"""

from __future__ import annotations

from collections import deque

from maestro.model import events as e
from maestro.model.events import Event
from maestro.model.monitoring.alert_moments import concerns
from maestro.model.monitoring.alert_rules import DAY_MS
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower

READER = ".alerts"
"""The name of the position in the store; no group of a user is called so."""
TAKEN_MAX = 500
"""So many events are taken in at once; the rest with the next look, so that nothing else waits."""
SCANNED = 20_000
"""So many events of the log are looked through in one call of a thread."""
KEEP_EVERY = 1000
"""So many positions it may be behind where nothing of interest was among them."""


class AlertNews:
    """The events that are to be taken in. has_restored: a restore came, after which rows say what no event does."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self._context = context
        self._follower = follower
        self._leads = False
        self._coming: deque[Event] = deque()
        self._taken: list[Event] = []
        self._scanned = 0  # up to there the log was read
        self._until = 0  # up to there it is to be read: what follows, the follower tells
        self._kept = 0
        self.has_restored = True
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if self._leads:
            if isinstance(event.fact, e.RestoreDone):
                self.has_restored = True
            if concerns(event):
                self._coming.append(event)

    async def begin(self, now: int) -> None:
        """Begin where the leader before has ended: at most a day ago, and with what the store itself holds."""
        self.end()
        self._leads = self.has_restored = True
        self._until = self._follower.seq
        kept = await self._context.gateway.ask(self._context.store.log.cursor_get, READER)
        early = await self._context.gateway.call(self._position_at, now - DAY_MS)
        self._kept = self._scanned = early if kept is None or kept > self._until else max(kept, early)

    def _position_at(self, at: int) -> int:
        """The last position before a time, server ms; not before what the store itself holds of the log."""
        log = self._context.store.log
        known, unknown = max(0, log.first() - 1), self._until
        while known < unknown:
            middle = (known + unknown + 1) // 2
            event = log.event(middle)
            if event is None or event.at < at:
                known = middle
            else:
                unknown = middle - 1
        return known

    def end(self) -> None:
        """Take in nothing more: another daemon leads."""
        self._leads = False
        self._coming.clear()
        self._taken = []

    async def take(self) -> list[Event]:
        """The next events of interest, in the order of the log, some hundreds at most; the same ones until `keep`."""
        found = self._taken
        while self._scanned < self._until and len(found) < TAKEN_MAX:
            upto = min(self._until, self._scanned + SCANNED)
            found += await self._context.gateway.call(self._read, self._scanned, upto)
            self._scanned = upto
        while self._scanned >= self._until and self._coming and len(found) < TAKEN_MAX:
            event = self._coming.popleft()
            if event.seq > self._until:
                found.append(event)
        return list(found)

    @property
    def is_more(self) -> bool:
        """Whether events are waiting to be taken in."""
        return self._scanned < self._until or bool(self._coming)

    def _read(self, after: int, upto: int) -> list[Event]:
        return [event for part in self._context.store.log.scan(after, upto) for event in part if concerns(event)]

    async def keep(self) -> None:
        """Have done with what was taken, and remember in the store how far that is."""
        position = self._scanned if self._scanned < self._until else self._follower.seq
        if self._coming:
            position = min(position, self._coming[0].seq - 1)
        if position - self._kept >= KEEP_EVERY or self._taken:
            self._taken = []
            await self._context.gateway.ask(self._context.store.log.cursor_set, READER, position)
            self._kept = position
