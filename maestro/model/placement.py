"""The places of agents: the log refuses an assignment to a place where another was made since it was checked.

Whether two folders are one, or one lies in the other, is seen on a node's disks, by the guards, and takes time. So the
version of all places is read first, then the agents, then the guards look, and the claim is appended at that version.
"""

from __future__ import annotations

from typing import Final

from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned, NewEvent, WorkspaceClaimed

PLACES: Final = "workspaces:all"
"""The subject whose version is that of all places of the namespace."""


def decide_claim(fact: AgentAssigned, row: Agent | None, version: int | None) -> list[NewEvent]:
    """Claim the place of an agent; nothing where it keeps the one that it has.

    version: of `PLACES`, read before the agents that the guards compared it with; None behind another claim of the same
    append.
    """
    place = (fact.workspace, fact.node, fact.workspace_root)
    if row is not None and (row.workspace, row.node, row.workspace_root) == place:
        return []
    return [NewEvent(PLACES, WorkspaceClaimed(fact.agent, fact.workspace_root, fact.workspace, fact.node), version)]
