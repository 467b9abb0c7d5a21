"""Merged appends: events of others in one append with what the scheduler would decide as soon as it reads them.

`model/scheduling/foresight.py` says what that will be. Each append is under the scheduler's fence and each event under
the version of its subject, so the log refuses it where something has come between. This is the one place that makes
such appends: for the scheduler, and by `TaskEnds` of `node/handover.py` for the worker.
"""

from __future__ import annotations

import msgspec

from maestro.model.events import NewEvent, RunEnded
from maestro.model.scheduling.foresight import after_end
from maestro.model.scheduling.schedule import Decision
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.handover import Reserved
from maestro.store.contract import Append, Fence, Hint

LEASE = "scheduler"
"""The lease of a namespace whose holder is its leader."""


class MergedAppends:
    """Makes the merged appends of one daemon. leading: whether the daemon holds the lease; the scheduler says so.

    holder: the name under which the daemon takes leases.
    """

    def __init__(self, follower: Follower, holder: str) -> None:
        self.leading = False
        self.fence = Fence(LEASE, holder)
        self._follower = follower

    def with_task_end(self, append: Append) -> Append | None:
        """See `TaskEnds.with_task_end`."""
        fact = append.events[-1].fact
        if not self.leading or not isinstance(fact, RunEnded):
            return None
        ends = tuple(after_end(self._follower.plan, fact))
        if not ends:
            return None
        follows = (self.fence.actor,) * len(ends)
        return msgspec.structs.replace(append, events=append.events + ends, fence=self.fence, follows=follows)

    def with_decision(self, append: Append, decision: Decision, reserved: Reserved | None) -> Append:
        """The append with a decision of the scheduler behind its events, of which there may be none.

        reserved: room on this node for the run that the decision releases; its start is then part of the append, and
        no hint is put. None: each run is released by a hint.
        """
        before = len(append.events)
        follows: tuple[str, ...] = (self.fence.actor,) if before else ()
        events = (*append.events, *decision.events)
        hints = tuple(Hint(stream, run, before + event) for stream, run, event in decision.hints)
        if reserved is not None:
            events, hints = (*events, NewEvent(decision.events[0].subject, reserved.started)), ()
            follows += (reserved.actor,)
        return msgspec.structs.replace(append, events=events, hints=hints, fence=self.fence, follows=follows)
