"""The admission of events to the log beside nodes of an older release, which stop before those they do not know.

What somebody asks for is refused while such a node is up, and says which node is to be updated; so are the name of an
archive and the guard of a workspace, which are asked for by settings: what needs them says why it cannot be. Alerts
wait. These three wait for a node that was lost a short while ago, too. All else follows from what is in the log
already: it is appended, and the log of the daemon says who stops. `model/coordination/releases.py` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from maestro.model.coordination.releases import awaited, elders, is_new, refusal, stopped_by, waits_for
from maestro.model.node import Node
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append


class Admission:
    """The admission of one daemon's appends. now: gives the time of the store's server, in ms."""

    def __init__(self, follower: Follower, now: Callable[[], int]) -> None:
        self._follower = follower
        self._now = now

    async def __call__(self, append: Append) -> None:
        """Raise Refused where an append would stop a node and can wait."""
        admit(append, self._follower.plan.nodes, self._now())


class LoneAdmission:
    """The admission of what a command appends that runs without a daemon. It looks at the nodes where it must."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, append: Append) -> None:
        """Raise Refused where an append would stop a node and can wait. A node whose lease has run out is not up."""
        if not any(is_new(event.fact) for event in append.events):
            return
        context, now = self._context, await self._context.now()
        nodes = {node.id: node for node in await context.rows(context.views.nodes)}
        holder = context.store.work.lease_holder
        for node in elders(nodes):
            if await context.call(holder, f"node:{node.id}") is None:  # nobody has told it yet, so it is so since now
                node.status, node.changed_at = "lost", now
        admit(append, nodes, now)


def admit(append: Append, nodes: Mapping[str, Node], now: int) -> None:
    """Raise Refused where an append would stop one of these nodes and can wait. now: server ms."""
    facts = [event.fact for event in append.events]
    node = waits_for(facts, append.cause, nodes, now)
    if node is not None:
        raise refusal(node)
    stopped = stopped_by(facts, awaited(nodes, now))
    if stopped is not None:
        when = "stops now" if stopped.status == "up" else "stops when it comes back"
        seldom.warn("releases", f"node {stopped.id} runs Maestro {stopped.build}, and {when}: update Maestro there")
