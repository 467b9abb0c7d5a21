"""What a node says of its part of a restore over several nodes, and what it owes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from maestro.model.agent import Agent
from maestro.model.coordination.restore_parts import Restore, RestoreOptions, at_version, superseded
from maestro.model.events import NewEvent, RestorePartFailed, RestorePartPlaced, RestorePartStaged
from maestro.model.restore import Stopped, decide_going_on, stop_reason


def wants(row: Restore, node: str) -> bool:
    """Whether a node is to stage its part now."""
    part = row.part(node)
    return row.state == "opened" and part is not None and part.state == "wanted"


def owes(row: Restore, node: str, cut: int) -> bool:
    """Whether a node has to exchange its part. cut: the position of the last `restore.done`."""
    part = row.part(node)
    return row.state == "done" and part is not None and part.state == "pending" and not superseded(row, cut)


def decide_staged(row: Restore | None, fact: RestorePartStaged, floor: int) -> list[NewEvent]:
    """Say that a part is staged; nothing where nobody waits for it any more."""
    return [at_version(row, fact, floor)] if row is not None and wants(row, fact.node) else []


def decide_part_failed(row: Restore | None, fact: RestorePartFailed, floor: int) -> list[NewEvent]:
    """Say that a part cannot be done, or that the asker gives up; nothing where that is decided or said."""
    if row is None or row.decided or row.state == "failed":
        return []
    part = row.part(fact.node)
    if not fact.given_up and (part is None or part.state == "failed"):
        return []
    return [at_version(row, fact, floor)]


class Placing(NamedTuple):
    """What a node has exchanged: the workspaces, and those that it could not, with why, which says what to do.

    agents: the rows of the agents concerned, and whys: the reason of the last stop of each.
    """

    workspaces: tuple[str, ...]
    left: Mapping[str, str]
    agents: Mapping[str, Agent]
    whys: Mapping[str, str]


def decide_placed(
    row: Restore | None, options: RestoreOptions, node: str, placing: Placing, floor: int, cut: int
) -> list[NewEvent]:
    """Say that a part is exchanged, and let its agents take work again; nothing where that is said, or superseded."""
    if row is None or not owes(row, node, cut):
        return []
    part = row.part(node)
    assert part is not None
    events = [at_version(row, RestorePartPlaced(row.id, node, placing.workspaces, dict(placing.left)), floor)]
    left = {each.agent: placing.left[each.workspace] for each in part.placed if each.workspace in placing.left}
    names = {each.agent for each in part.placed} | (set(part.agents) if row.to is None else set())
    for name in sorted(names):
        said = f"{stop_reason(row.id)}: {left[name]}" if name in left else ""
        stopped = Stopped(row.id, name in options.waiting and row.to is None, said)
        events += decide_going_on(placing.agents.get(name), placing.whys.get(name, ""), stopped, floor)
    return events
