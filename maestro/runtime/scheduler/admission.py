"""The admission of events to the log while a node of an older release is up, which stops before those it does not know.

What somebody asks for is refused, and says which node is to be updated; so are the name of an archive and the guard of
a workspace, which are asked for by settings: what needs them says why it cannot be. Alerts wait. All else follows from
what is in the log already: it is appended, and the log of the daemon says who stops.
"""

from __future__ import annotations

from collections.abc import Mapping

from maestro.model.coordination.releases import elders, is_new, refusal, stopped_by
from maestro.model.events import ArchiveNamed, WorkspaceGuarded
from maestro.model.node import Node
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.follower import Follower
from maestro.store.contract import Append

WAITS = ("cmd:", "alerts:")
MAY_WAIT = (ArchiveNamed, WorkspaceGuarded)


class Admission:
    """The admission of one daemon's appends."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    async def __call__(self, append: Append) -> None:
        """Raise Refused where an append would stop a node and can wait."""
        admit(append, self._follower.plan.nodes)


class LoneAdmission:
    """The admission of what a command appends that runs without a daemon. It looks at the nodes where it must."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, append: Append) -> None:
        """Raise Refused where an append would stop a node and can wait. A node whose lease has run out is not up."""
        if not any(is_new(event.fact) for event in append.events):
            return
        context = self._context
        nodes = {node.id: node for node in await context.rows(context.views.nodes)}
        holder = context.store.work.lease_holder
        for node in elders(nodes):
            if await context.call(holder, f"node:{node.id}") is None:
                del nodes[node.id]
        admit(append, nodes)


def admit(append: Append, nodes: Mapping[str, Node]) -> None:
    """Raise Refused where an append would stop one of these nodes and can wait."""
    node = stopped_by((event.fact for event in append.events), nodes)
    if node is None:
        return
    if append.cause.startswith(WAITS) or any(isinstance(event.fact, MAY_WAIT) for event in append.events):
        raise refusal(node)
    seldom.warn("releases", f"node {node.id} runs Maestro {node.build}, and stops now: update Maestro there")
