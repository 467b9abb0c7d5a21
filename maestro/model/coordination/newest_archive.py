"""The newest archive of an agent's workspace, from which the agent may go on where its node is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from maestro.model.agent import Agent
from maestro.model.events import SnapshotWorkspace
from maestro.model.snapshot import Snapshot


def newest_of(
    rows: Iterable[Snapshot], agent: Agent, holds: Callable[[int], bool]
) -> tuple[Snapshot, SnapshotWorkspace] | None:
    """The newest archive of the workspace that an agent has, automatic ones included, and the snapshot that holds it.

    holds: whether a position is on the line: what a restore has undone is not taken.
    """
    found = (
        (row, held)
        for row in rows
        if row.complete and not row.path and row.node
        for held in row.workspaces
        if (held.agent, held.workspace) == (agent.id, agent.workspace) and holds(held.position)
    )
    of_node = [(row, held) for row, held in found if (held.node or row.node) == agent.node]
    return max(of_node, key=lambda each: each[1].position, default=None)
