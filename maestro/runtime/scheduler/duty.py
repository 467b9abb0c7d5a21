"""A duty of the leader: what a daemon does for the whole namespace while it leads, and only then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from maestro.model.errors import MaestroError
from maestro.model.events import Event
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.lead import Lead

IDLE_S_MAX = 30.0
"""So often it looks anew, whatever it has heard: the clock of the store's server may jump."""
AWAY_S = 1.0


class Duty:
    """A duty of one daemon: a step is taken when it begins to lead, when news is heard, and when the last step's time
    is up.

    what: it in words, for the daemon's log. news: the facts after which there may be something to do. step: does it
    all; in how many seconds there is something to do though nothing is heard.
    """

    def __init__(
        self,
        what: str,
        follower: Follower,
        lead: Lead,
        news: tuple[type, ...],
        step: Callable[[], Awaitable[float]],
    ) -> None:
        self._what = what
        self._follower = follower
        self._lead = lead
        self._facts = news
        self._step = step
        self._news = trio.Event()
        follower.listen(self._hear)
        lead.begins(self.wake)

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, self._facts):
            self.wake()

    def wake(self) -> None:
        """Have a step taken at once, if this daemon leads."""
        self._news.set()

    async def run(self) -> None:
        """Take steps, for ever; an outage of the store is waited out."""
        while not self._follower.stopped:
            self._news = trio.Event()
            wait_s = IDLE_S_MAX
            if self._lead.leading():
                try:
                    wait_s = min(wait_s, await self._step())
                except MaestroError as error:
                    seldom.warn(self._what, error.line())
                    wait_s = AWAY_S
            with trio.move_on_after(wait_s):
                await self._news.wait()
