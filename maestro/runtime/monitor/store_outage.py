"""The last time in which the store could not be reached from this node: nobody else can say so, nor append it then."""

from __future__ import annotations

from maestro.model.monitoring.alert_conditions import OUTAGE_MS_MIN, Outage
from maestro.runtime.node.clock import Clock, next_second
from maestro.runtime.node.follower import Follower
from maestro.store.gateway import Gateway


class StoreOutage:
    """Watches whether the store can be reached. last: the last outage that is worth a word, None for none yet."""

    def __init__(self, gateway: Gateway, follower: Follower, clock: Clock) -> None:
        self._gateway = gateway
        self._follower = follower
        self._clock = clock
        self._since = 0
        self.last: Outage | None = None

    async def run(self) -> None:
        """Look every second, for ever."""
        while True:
            self.look()
            await next_second()

    def look(self) -> None:
        """Take in whether the store is away now. Asks nobody: whoever uses the store has found out."""
        now = self._clock.now()
        if self._follower.away or self._gateway.away_since is not None:
            self._since = self._since or now
        elif self._since:
            if now - self._since >= OUTAGE_MS_MIN:
                self.last = Outage(self._since, now)
            self._since = 0
