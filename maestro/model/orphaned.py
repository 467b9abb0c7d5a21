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
    changes: list[tuple[str, str | None]] = []  # an agent, and what it had before
    seqs: list[int] = []  # of the changes
    found: dict[str, set[str]] = {}  # agents, by the workspace that they had

    def move(agent: str, to: str | None, seq: int) -> None:
        changes.append((agent, held.pop(agent, None)))
        seqs.append(seq)
        if to is not None:
            held[agent] = to

    for event in events:
        fact = event.fact
        if isinstance(fact, AgentAssigned):
            is_here = fact.workspace is not None and fact.node in (None, node)
            move(fact.agent, fact.workspace if is_here else None, event.seq)
            if is_here:
                found.pop(str(fact.workspace), None)
        elif isinstance(fact, RestoreDone):
            then: dict[str, str | None] = {}
            for agent, before in reversed(changes[bisect_right(seqs, fact.to) :]):
                then[agent] = before
            for agent, workspace in then.items():
                if (now := held.get(agent)) is not None and now != workspace:
                    found.setdefault(now, set()).add(agent)
                move(agent, workspace, event.seq)
            for agent, back in held.items():
                found.get(back, set()).discard(agent)
    return {(agent, workspace) for workspace, agents in found.items() for agent in agents}
