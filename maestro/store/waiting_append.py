"""An append that waits for the store: who waits for it, how sure its fate is, and what is said where it ends badly."""

from __future__ import annotations

import math

import msgspec
import trio

from maestro.model.errors import StoreAway, Unknown
from maestro.store.contract import Append

PROMPT_S = 2.0
"""How long an append of a command is tried again where the store is away."""


class Waiting:
    """An append and the task that waits for its result. unsure: a try of it is under way, or may have got through.

    until: when (trio's clock) it is dropped where the store is away; infinite for what is sent again for ever.
    """

    __slots__ = ("append", "gone", "task", "unsure", "until")

    def __init__(self, append: Append, task: trio.lowlevel.Task, until: float) -> None:
        self.append = append
        self.task = task
        self.until = until
        self.gone = False
        self.unsure = False

    def is_dropped(self, denied: bool) -> bool:
        """Whether it is not to be tried again. denied: the store has just said that it takes no writes."""
        if self.unsure or self.until == math.inf:
            return False
        return self.gone or denied or trio.current_time() >= self.until


def undone(error: StoreAway | None) -> StoreAway:
    """The error for an append that was dropped: certain that it is not in the log, and never will be."""
    if error is None or isinstance(error, Unknown):
        return StoreAway("the store has not confirmed what was sent before; nothing was done", mend="try again")
    return StoreAway(f"{error.what}; nothing was done", error.where, error.mend)


def unconfirmed(seconds: float) -> Unknown:
    """The error for an append that has not been settled for so long."""
    what = f"the append was not confirmed within {seconds:g} s"
    return Unknown(what, mend="see whether it took effect before you repeat it: maestro audit")


def again(append: Append, since: int) -> Append:
    """The same append, to be recognised where an earlier try behind `since` got through."""
    if append.resend:
        return append
    return msgspec.structs.replace(append, resend=True, since=since)
