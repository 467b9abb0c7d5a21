"""An append that waits for the store: its task, whether its outcome is certain, and the errors that end it."""

from __future__ import annotations

import math

import msgspec
import trio

from maestro.model.errors import StoreAway, Unknown
from maestro.store.contract import Append, AppendResult

PROMPT_S = 2.0
"""How long the append of a command is retried while the store is away, in seconds."""


class WaitingAppend:
    """An append and the task that waits for its result.

    until: trio's time at which it is dropped while the store is away; infinite for one that is retried for ever.
    gone: its task does not wait any more.
    unsure: a try is under way, or may have got through.
    settled: the result, or the error, with which its task goes on; None until then.
    """

    __slots__ = ("append", "gone", "settled", "task", "unsure", "until")

    def __init__(self, append: Append, task: trio.lowlevel.Task, until: float) -> None:
        self.append = append
        self.task = task
        self.until = until
        self.gone = False
        self.unsure = False
        self.settled: AppendResult | Exception | None = None

    def result(self) -> AppendResult:
        """The result with which the append was settled. Raises the error where that was one."""
        settled, self.settled = self.settled, None
        try:
            if isinstance(settled, Exception):
                raise settled
            assert settled is not None
            return settled
        finally:
            del settled  # else the error would hold this frame, and the frame the error

    def is_dropped(self, denied: bool) -> bool:
        """Whether the append is not retried. denied: the store has just reported that it takes no writes."""
        if self.unsure or self.until == math.inf:
            return False
        return self.gone or denied or trio.current_time() >= self.until


def undone(error: StoreAway | None) -> StoreAway:
    """The error for an append that was dropped: it is certainly not in the log, and never will be."""
    if error is None or isinstance(error, Unknown):
        return StoreAway("the store has not confirmed what was sent before; nothing was done", mend="try again")
    return StoreAway(f"{error.what}; nothing was done", error.where, error.mend)


def unconfirmed(seconds: float) -> Unknown:
    """The error for an append that was not confirmed within so many seconds."""
    what = f"the append was not confirmed within {seconds:g} s"
    return Unknown(what, mend="see whether it took effect before you repeat it: maestro audit")


def again(append: Append, since: int) -> Append:
    """The same append, marked so that the store recognises an earlier try behind position `since`."""
    if append.resend:
        return append
    return msgspec.structs.replace(append, resend=True, since=since)
