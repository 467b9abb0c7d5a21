"""The places of agents: the log refuses an assignment to a place where another was made since it was checked.

And the homes that agents have had on the nodes: who moves to another one leaves its folder as it is. A restore undoes
an assignment, but moves no folder of a node that it does not put back; so homes are known from all events.

Whether two folders are one, or one lies in the other, is seen on a node's disks, by the guards, and takes time. So the
version of all places is read first, then the agents, then the guards look, and the claim is appended at that version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned, Event, NewEvent, WorkspaceClaimed

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


HOMES_MAX: Final = 100
"""So many of its homes are known of an agent, the newest."""


class Home(msgspec.Struct, frozen=True, omit_defaults=True):
    """A folder on a node in which an agent has worked. since, until: server ms; until: 0 where no other home followed,
    also where a restore has taken the agent back to an earlier one.
    """

    node: str
    workspace: str
    since: int
    until: int = 0


class Homes(msgspec.Struct, omit_defaults=True, gc=False):
    """The homes of an agent, the newest last; a row of the view `homes`. at: of the last change, server ms."""

    agent: str
    at: int
    homes: list[Home] = []

    @property
    def moved(self) -> bool:
        """Whether the agent has had homes on several nodes."""
        return len({home.node for home in self.homes}) > 1


def settle(row: Homes | None, event: Event) -> Homes | None:
    """The homes of an agent after an assignment, changed in place; None for one that has had none. Others change
    nothing.
    """
    fact = event.fact
    if not isinstance(fact, AgentAssigned):
        return row
    place = None if fact.workspace is None or fact.node is None else (fact.node, fact.workspace)
    last = row.homes[-1] if row is not None and row.homes else None
    if row is None and place is None:
        return None
    if last is not None and not last.until and (last.node, last.workspace) == place:
        return row
    row = row or Homes(fact.agent, event.at)
    row.at = event.at
    if last is not None and not last.until:
        row.homes[-1] = msgspec.structs.replace(last, until=event.at)
    if place is not None:
        others = [home for home in row.homes if (home.node, home.workspace) != place]
        row.homes = [*others, Home(*place, event.at)][-HOMES_MAX:]
    return row


def stranded(rows: Iterable[Homes], agents: Collection[Agent], nodes: Collection[str]) -> list[tuple[str, Home]]:
    """The folders that agents have left on other nodes than they are on now, each with its agent.

    nodes: those that count. A folder in which an agent works is none of them.
    """
    taken = {(agent.node, agent.workspace) for agent in agents}
    at = {agent.id: agent.node for agent in agents if agent.node is not None}
    return [
        (row.agent, home)
        for row in rows
        for home in row.homes
        if row.agent in at
        and home.node != at[row.agent]
        and home.node in nodes
        and (home.node, home.workspace) not in taken
    ]


def left_since(row: Homes | None, agent: Agent, since: int) -> list[Home]:
    """The folders that an agent has left on other nodes than it is on after `since`, the newest first: what it did
    behind an archive of that time is in them, too. since: server ms.
    """
    homes = row.homes if row is not None else []
    return [home for home in reversed(homes) if home.until > since and home.node != agent.node]
