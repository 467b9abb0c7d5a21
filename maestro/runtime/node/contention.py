"""A race of commands for one subject of the log: after a lost turn a command pauses, reads and decides anew.

One command wins each turn. The pauses are of random length, as the others would come back all at once as well. Lost
turns are no failure: only time ends a race.
"""

from __future__ import annotations

import random

import trio

from maestro.model.errors import Conflict

GIVE_UP_S = 30.0
PAUSE_S_FIRST = 0.004
PAUSE_S_MAX = 0.25


class Race:
    """The race as one command runs it: call `lost` after each append that was refused because somebody else was first.

    what: the error's text when it is given up, after give_up_s seconds.
    """

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
