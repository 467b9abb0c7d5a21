"""The admission of events to the log while a node of an older release is up, which stops before those it does not know.

What somebody asks for is refused, and says which node is to be updated; alerts wait. All else is appended, and said in
the log of the daemon: no release had it before, and it is asked for by settings that are newer than the older node.
"""

from __future__ import annotations

from maestro.model.coordination.releases import refusal, stopped_by
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append

WAITS = ("cmd:", "alerts:")


class Admission:
    """The admission of one daemon's appends."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def __call__(self, append: Append) -> None:
        """Raise Refused where an append would stop a node and can wait."""
        node = stopped_by((event.fact for event in append.events), self._follower.plan.nodes)
        if node is None:
            return
        if append.cause.startswith(WAITS):
            raise refusal(node)
        seldom.warn("releases", f"node {node.id} runs Maestro {node.build}, and stops now: update Maestro there")
