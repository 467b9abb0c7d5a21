"""The workspaces at a position, each with its newest archive at or before that, as a restore would take it."""

from __future__ import annotations

from typing import NamedTuple

from maestro.model.agent_row import Agent
from maestro.model.errors import NotFound
from maestro.model.forks.fork import sources
from maestro.model.ids import shown
from maestro.model.monitoring.failsafe import is_undone
from maestro.model.restore import Archived
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Context
from maestro.runtime.server.rows import Row, when
from maestro.runtime.snapshots.folders import SnapshotFolders
from projections.lineage import Line, find_cuts
from replayers.timeline.past_views import Past


class Placed(NamedTuple):
    """A workspace of an agent at a position. archived: where it comes from, None where nothing is; of: the snapshot."""

    agent: Agent
    archived: Archived | None
    of: Snapshot | None

    def row(self, past: Past, why: str) -> Row:
        """The row of a workspace. why: why its files cannot be shown, "" where they can."""
        archived, of = self.archived, self.of
        return {
            "agent": self.agent.id,
            "workspace": self.agent.workspace,
            "node": self.agent.node,
            "snapshot": archived.snapshot if archived else None,
            "snapshot_at": when(of.taken_at) if of else None,
            "snapshot_position": archived.position if archived else None,
            "events_apart": past.position - archived.position if archived else None,
            "here": not why,
            "why": why or None,
        }


def placed(context: Context, past: Past) -> list[Placed]:
    """The workspaces at a position, by agent. Blocks."""
    agents = [row for row in past.rows("agents").values() if isinstance(row, Agent) and row.workspace is not None]
    return _with_archives(context, past, agents)


def placed_of(context: Context, past: Past, agent: str) -> Placed:
    """The workspace of one agent. Blocks. Raises NotFound where there was no such agent, or it had none."""
    row = past.row("agents", f"agent:{agent}")
    if not isinstance(row, Agent) or row.workspace is None:
        what = f"there was no workspace of agent {shown(agent)} at position {past.position}"
        raise NotFound(what, mend="go to a position where it was assigned")
    return _with_archives(context, past, [row])[0]


def _with_archives(context: Context, past: Past, agents: list[Agent]) -> list[Placed]:
    store, here = context.store, context.node
    known = {row.id: row for row in context.views.snapshots("complete").rows if row.position <= past.position}
    kept = [
        Archived(row.id, each, "" if (each.node or row.node) in ("", here) else each.node or row.node)
        for row in known.values()
        if not is_undone(row.reason)
        for each in row.workspaces
    ]
    line = Line(find_cuts(store.log, store.log.head().floor), past.position)
    found = sources(agents, kept, past.position, line.ranges)
    return [
        Placed(agent, archived, known[archived.snapshot] if archived else None)
        for agent in sorted(agents, key=lambda agent: agent.id)
        for archived in (found[agent.id],)
    ]


def why_not(context: Context, place: Placed) -> str:
    """Why the files of a workspace cannot be shown here, "" where they can, as far as that is known. Blocks."""
    archived, node = place.archived, place.agent.node
    if archived is None:
        return "there is no archive of it at or before then"
    if node not in (None, context.node):
        return f"it lies on node {node}: a board of that node shows its files"
    if archived.node:
        return ""  # read through the shared archive, where there is one
    is_here = SnapshotFolders(context.settings.home).has(archived.snapshot) or bool(place.of and place.of.path)
    return "" if is_here else f"snapshot {archived.snapshot} is not among the archives of this node any more"
