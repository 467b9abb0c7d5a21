"""The backlog of a plan: how many slots of open tasks do not run, by the kind of the reason, and the oldest of each.

`waiting.py` says the reasons, once for all slots of a lane. So it costs O(lanes), and what Python adds up in C, never a
look at each task.
"""

from __future__ import annotations

import msgspec

from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.waiting import KINDS, Reasons

REASONS = KINDS
"""What slots wait for."""


class Waiting(msgspec.Struct):
    """Slots that wait for one reason. depth: how many; since: of the one that waits longest, server ms, 0 for none."""

    depth: int = 0
    since: int = 0


def backlog(plan: Plan) -> dict[str, Waiting]:
    """All that does not run, by each of `REASONS`. Call `plan.wake` first, so that past retry times are past."""
    found = {reason: Waiting() for reason in REASONS}
    reasons = Reasons(plan)
    for group, slots in plan.census.groups():
        if isinstance(group, str):
            kind = group
        else:
            lane, run = group
            kind = "paused" if plan.pauses.paused(run) else reasons.of_lane(lane).kind
        waiting, since = found[kind], min(slots.values())
        waiting.since = min(waiting.since or since, since)
        waiting.depth += len(slots)
    return found
