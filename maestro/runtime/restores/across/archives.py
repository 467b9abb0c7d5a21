"""The archives that the workspaces of a restore can come from, on whichever node they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from maestro.model.errors import NotFound, Refused
from maestro.model.events import SnapshotWorkspace
from maestro.model.ids import shown
from maestro.model.monitoring.failsafe import is_undone
from maestro.model.restore import Archived, newest as newest_of
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Context
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin
from maestro.runtime.restores.past import Past
from maestro.runtime.snapshots.meta import SnapshotMeta
from maestro.runtime.snapshots.proof import LATEST, newest


class RecordedOrigin:
    """A snapshot as the log tells of it, which is enough to plan: its parts are read by the nodes that have them."""

    path = ""
    reuses = True

    def __init__(self, row: Snapshot) -> None:
        self.name = row.id
        self.meta = SnapshotMeta(
            namespace="",
            node=row.node,
            position=row.position,
            chain="",
            reason=row.reason,
            automatic=row.automatic,
            workspaces=row.workspaces,
            missing=row.missing,
        )


Named = Origin | RecordedOrigin
"""A snapshot that a user names: open, or as the log tells of it."""


async def found(context: Context, origins: OpenOrigins, text: str) -> Named:
    """The snapshot of an id, `latest`, or the path of an export. Raises NotFound, Refused, VerificationFailed."""
    name = await newest(context) if text == LATEST else text
    if not name.startswith("/"):
        row = await context.row(context.views.snapshot, name)
        if row is not None and row.complete and not row.path and _lies_elsewhere(row, context.node):
            return RecordedOrigin(row)
    return await origins.named(name)


def _only(there: dict[str, SnapshotWorkspace], path: str, here: str) -> SnapshotWorkspace:
    """The workspace that a path means which is one on each of these nodes. Raises Refused."""
    if here in there:
        return there[here]
    if len(there) > 1:
        agents = ", ".join(f"{each.agent} (node {node})" for node, each in sorted(there.items()))
        raise Refused(f"{shown(path)} is a workspace on several nodes: {agents}", "--workspace", "name the agent")
    return next(iter(there.values()))


def _lies_elsewhere(row: Snapshot, here: str) -> bool:
    """Whether a part of a snapshot, or all of it, lies in the archive of another node."""
    return not row.lies_on(here) or not {each.node for each in row.workspaces} <= {"", here}


class Parts(NamedTuple):
    """What is at hand of a snapshot. out_of_reach: why the part of a node is not, by node."""

    held: list[Archived]
    out_of_reach: dict[str, str] = {}  # noqa: RUF012 - nobody adds to it


async def _held(context: Context, origins: OpenOrigins, origin: Named, past: Past) -> Parts:
    """What a snapshot holds: by the log where it lies on several nodes, as an archive has one part only. A file comes
    first, and behind it what other nodes have of that snapshot in archives of their own.
    """
    row = await context.row(context.views.snapshot, origin.name)
    if row is not None and isinstance(origin, RecordedOrigin):
        return Parts(_of_row(context, row))
    here = [Archived(origin.name, each) for each in origin.meta.workspaces]
    if row is None or not row.complete:
        return Parts(here) if origin.path else await _unrecorded(context, origins, origin, past)
    known = set() if origin.path else {(each.held.agent, each.held.workspace) for each in here}
    there = [each for each in _of_row(context, row) if (each.held.agent, each.held.workspace) not in known]
    return Parts(here + [each for each in there if each.node])


async def _unrecorded(context: Context, origins: OpenOrigins, origin: Named, past: Past) -> Parts:
    """What a snapshot holds that the log does not tell of, as it is loaded from it: its part that is open, and those of
    the other nodes that had agents, as far as the shared archive has them.
    """
    parts, out_of_reach = {origins.lies_on(origin.name): origin.meta}, {}
    known = {*parts, "", origin.meta.node, context.node}
    for node in sorted({agent.node or "" for agent in past.agents.values()} - known):
        try:
            parts[node] = (await origins.snapshot(origin.name, node)).meta
        except (NotFound, Refused) as error:
            out_of_reach[node] = error.line()
    return Parts(
        [Archived(origin.name, each, node) for node, meta in parts.items() for each in meta.workspaces], out_of_reach
    )


def _of_row(context: Context, row: Snapshot) -> list[Archived]:
    nodes = [(each, each.node or row.node) for each in row.workspaces]
    return [Archived(row.id, each, "" if node == context.node else node) for each, node in nodes]


class Archives:
    """The archives that workspaces can come from.

    by_time: a workspace comes from its newest archive at or before the position restored to, else from the named
    snapshot. out_of_reach: why the archive of a node is not at hand that may hold more of that, by node.
    """

    def __init__(self, parts: Parts, past: Past, by_time: bool) -> None:
        self._held, self.out_of_reach = parts
        self._by_place: dict[tuple[str, str], list[Archived]] = {}
        for each in self._held:
            self._by_place.setdefault((each.held.agent, each.held.workspace), []).append(each)
        self._past = past
        self._by_time = by_time

    @classmethod
    async def find(
        cls, context: Context, origins: OpenOrigins, origin: Named | None, past: Past, by_time: bool
    ) -> Archives:
        """The archives of the named snapshot, and for a time those of all other snapshots, of every node."""
        parts = await _held(context, origins, origin, past) if origin is not None else Parts([])
        for row in await context.rows(context.views.snapshots) if by_time else ():
            if not is_undone(row.reason):
                parts.held.extend(_of_row(context, row))
        return cls(parts, past, by_time)

    def of(self, agent: str, workspace: str, node: str = "") -> Archived | None:
        """The archive that an agent's workspace comes from, None where there is none. node: where it is put back, which
        reads its own archive first: no other node has a file that lies here.
        """
        fitting = self._by_place.get((agent, workspace), [])
        fitting = [each for each in fitting if node and each.node == node] or fitting
        if self._by_time:
            return newest_of(agent, workspace, fitting, self._past.position, self._is_on_line)
        return fitting[0] if fitting else None

    def named(self, name: str, cwd: str, here: str) -> SnapshotWorkspace | None:
        """The workspace that a user means by an agent's id or by a path, also where no agent has it.

        A path is compared as it is written first: a workspace may be a link by now. It is this node's (`here`) where
        it has such a one; Refused where several others have, and this one has none.
        """
        path = Path(cwd, name)
        for meant in (os.path.normpath(path), os.path.realpath(path)):
            agents = [each for each in self._past.agents.values() if each.workspace is not None]
            found = [(each.node or here, SnapshotWorkspace(each.id, str(each.workspace), "", 0)) for each in agents]
            archived = [(each.node or here, each.held) for each in self._held]
            for some in (found, archived):
                if by_agent := next((each for _, each in some if name == each.agent), None):
                    return by_agent
                if there := {node: each for node, each in reversed(some) if meant == each.workspace}:
                    return _only(there, meant, here)
        return None

    def _is_on_line(self, position: int) -> bool:
        return any(first <= position <= last for first, last in self._past.spans)
