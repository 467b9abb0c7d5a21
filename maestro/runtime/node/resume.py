"""The end of a node's hold: after `shutdown` a node takes no work until a command wants its agents again."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.node import decide_resume
from maestro.runtime.node.context import Call


async def resume(call: Call, agents: list[Agent], reason: str) -> None:
    """Let the nodes of these agents take work again after a shutdown; this node where no agent is given."""
    context = call.context
    nodes = {node.id: node for node in await context.rows(context.views.nodes)}
    events = decide_resume(nodes, agents, context.node, reason)
    if events:
        await context.submit(events, call.caller.actor, call.cause)
