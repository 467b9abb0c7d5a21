"""The newest archives of an agent's workspace, from which the agent may go on where its node is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from maestro.model.agent import Agent
from maestro.model.events import SnapshotWorkspace
from maestro.model.monitoring.failsafe import is_undone
from maestro.model.snapshot import Snapshot


def newest_of(
    rows: Iterable[Snapshot], agent: Agent, holds: Callable[[int], bool]
) -> list[tuple[Snapshot, SnapshotWorkspace]]:
    """The archives of the workspace that an agent has, newest first, automatic ones included, with their snapshots.

    holds: whether a position is on the line: what a restore has undone is not taken, nor what failsafe mode has.
    """
    found = (
        (row, held)
        for row in rows
        if row.complete and not row.path and row.node and not is_undone(row.reason)
        for held in row.workspaces
        if (held.agent, held.workspace) == (agent.id, agent.workspace) and holds(held.position)
    )
    of_node = [(row, held) for row, held in found if (held.node or row.node) == agent.node]
    return sorted(of_node, key=lambda each: each[1].position, reverse=True)
