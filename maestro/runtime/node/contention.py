"""A race for one subject of the log: who loses a turn reads and decides anew, after a moment of its own length.

Of those that start at once, one wins each turn; without the random pause they would all come back at once as well. To
have lost some turns is no failure: only time ends it.
"""

from __future__ import annotations

import random

import trio

from maestro.model.errors import Conflict

GIVE_UP_S = 30.0
PAUSE_S_FIRST = 0.004
PAUSE_S_MAX = 0.25


class Race:
    """Of one command. Call `lost` after each append that the log refused because somebody else was first."""

    def __init__(self, what: str = "others keep changing the same subject", give_up_s: float = GIVE_UP_S) -> None:
        self._what = what
        self._deadline = trio.current_time() + give_up_s
        self._pause_s = PAUSE_S_FIRST

    async def lost(self) -> None:
        """Pause before the next turn. Raises Conflict when it has gone on for too long."""
        if trio.current_time() > self._deadline:
            raise Conflict(self._what, mend="try again")
        await trio.sleep(random.uniform(0, self._pause_s))
        self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
