"""Folders that a restore left without an agent: the log proves whose they were until then.

Such a folder is not somebody else's: the restore that undoes that one finds it as its agent left it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from maestro.model.events import AgentAssigned, Event, RestoreDone

Holding = tuple[str, str]
"""An agent, and the path of its workspace."""


def orphaned(events: Iterable[Event], node: str) -> set[Holding]:
    """The workspaces on a node that agents had until a restore, and that no agent was assigned to since.

    events: the whole log, in order, also what was undone.
    """
    held: dict[str, str] = {}
    seqs: list[int] = []
    helds: list[dict[str, str]] = []  # by the positions in `seqs`
    found: set[Holding] = set()
    for event in events:
        fact = event.fact
        if isinstance(fact, AgentAssigned):
            held = {agent: path for agent, path in held.items() if agent != fact.agent}
            if fact.workspace is not None and fact.node in (None, node):
                held[fact.agent] = fact.workspace
                found = {each for each in found if each[1] != fact.workspace}
        elif isinstance(fact, RestoreDone):
            place = bisect_right(seqs, fact.to)
            then = helds[place - 1] if place else {}
            found |= held.items() - then.items()
            found -= set(then.items())
            held = then
        else:
            continue
        seqs.append(event.seq)
        helds.append(held)
    return found
