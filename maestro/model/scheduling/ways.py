"""The ways on: what would let a task go on, for each reason why it does not (`waiting.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WAYS: Final[Mapping[str, str]] = {
    "ready": "nothing to do: it is released at once where a daemon is up (maestro node list)",
    "start": "nothing to do: its node starts it at once where its daemon is up (maestro node list)",
    "dependency": "that task has to complete: maestro task explain {about}",
    "retry": "nothing to do: it is tried again by itself then",
    "pause": "maestro workflow resume {about}",
    "budget": "maestro workflow resume {about} --add-budget cost=N (or tokens=N)",
    "agent_missing": "maestro agent assign TYPE --name {about}",
    "pool_empty": "another agent that answers to {about}: maestro agent assign",
    "agent_busy": "that task has to end: maestro task explain {about}",
    "agent_stopped": "maestro agent restart {about}",
    "agent_unhealthy": "maestro agent health {about} says what to do about it",
    "agent_held": "maestro agent health {about} says both ways out",
    "agent_guarded": "nothing to do: its node puts it back by itself, where its daemon is up (maestro node list)",
    "restore": "nothing to do: it goes on when the restore is over (maestro agent list)",
    "pending": "start its daemon there (maestro up), which exchanges them first",
    "disk": "make room on that disk: maestro doctor, on its node, says where",
    "store": "mend the store: maestro doctor says what is wrong with it",
    "workspace_shared": "that task has to end: maestro task explain {about}",
    "workspace_held": "that step has to end: maestro task explain {about}",
    "node_unknown": "start its daemon there (maestro up)",
    "node_held": "start its daemon there (maestro up)",
    "node_still": "nothing to do: it goes on by itself when the node has read its workspaces",
    "node_drained": "maestro node drain {about} --undo",
    "node_lost": "start its daemon there (maestro up), or go on elsewhere: "
    "maestro agent assign {agent} --from-snapshot newest --node <node>",
    "node_down": "start its daemon there (maestro up)",
    "node_silent": "taken for lost after 10 s where another node is up; else start its daemon there (maestro up)",
    "node_full": "a run there has to end, or MAESTRO_MAX_CONCURRENT be raised: maestro queue status --processing",
    "label": "a node with MAESTRO_NODE_LABELS={about}, or a dispatch without that label (maestro node list has labels)",
    "no_node": "start one: maestro up",
    "cancelling": "nothing to do: it ends as soon as its node has stopped it (maestro node list)",
    "group": "that run has to end: maestro task explain {about}",
    "permission": "maestro task answer {about} allow (or reject)",
    "approval": "maestro workflow approve {about} {agent}, or reject it",
    "items": "nothing to do: an item before it has to end",
    "child": "that run has to end: maestro task explain {about}",
    "step": "maestro task explain {about}",
    "needs": "nothing to do: those have to end",
    "store_away": "nothing is lost, and it goes on by itself when the store is back: maestro doctor",
}
"""By reason. {about}: whom or what it names; {agent}: the agent, or the step, that is meant."""

REASONS: Final = frozenset(WAYS)
"""Each reason for which something does not go on, by a word that is for ever."""


def way_on(reason: str, about: str = "", agent: str = "") -> str:
    """What would let something go on, in words; "" where nothing keeps it. about, agent: as in `WAYS`."""
    return WAYS[reason].format(about=about, agent=agent) if reason else ""
