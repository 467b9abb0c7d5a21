"""The keeping of one snapshot in this node's archive: of a whole one, and of a node's part of one over several nodes.

Whoever keeps one says what happens around the reading (`Moments`): how the agents come to rest, and what the cut is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from maestro.model.agent import Agent
from maestro.model.coordination.missing_workspaces import decide_missing
from maestro.model.events import SnapshotMissing, SnapshotWorkspace
from maestro.runtime.node.context import APPEND_S_MAX, Call
from maestro.runtime.snapshots import sources
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import SnapshotMeta, encode
from maestro.runtime.snapshots.progress import ProgressReport, mind_room
from maestro.runtime.snapshots.request import ASKED, SnapshotRequest
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.archive.write.snapshot_writer import Saved, Source as Tree
from replayers import checkpoint


class Moments(Protocol):
    """What happens around the reading of workspaces; called from the thread that reads."""

    async def rest(self, agents: tuple[str, ...] | None) -> None:
        """Have these agents (None: all) come to rest before their workspaces are read."""

    async def cut(self) -> int:
        """The cut, whose position it returns: the log is kept up to there."""

    async def quiet(self) -> None:
        """Called between the cut and the reading."""

    def let_go(self) -> None:
        """Let go on whom `rest` has stopped."""


class Keeping:
    """Keeps one snapshot. name: its id; the caller has the turn (`SnapshotFolders.turn`).

    position: of the cut; workspaces: what is kept; missing: what was asked for and is not there, which is allowed.
    """

    def __init__(
        self, call: Call, wanted: SnapshotRequest, folders: SnapshotFolders, name: str, moments: Moments
    ) -> None:
        self.position = 0
        self.workspaces: list[SnapshotWorkspace] = []
        self.missing: tuple[SnapshotMissing, ...] = ()
        self._call = call
        self._context = call.context
        self._wanted = wanted
        self._folders = folders
        self._name = name
        self._moments = moments
        self._agents: list[Agent] = []
        self._sources: list[Source] = []
        self._meta: dict[str, object] = {}  # the account in its manifest, empty until the log is written

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents whose workspaces were asked for."""
        asked = [source.agent for source in self._sources if source.tree.startswith("workspaces/")]
        return (*asked, *(each.agent for each in self.missing))

    async def prepare(self, measure: bool = True) -> ProgressReport:
        """Find what there is to read. Raises Refused where a workspace is not there to be read, unless allowed.

        measure: tell the user how much that is; it may take as long as a look at every file.
        """
        wanted, context = self._wanted, self._context
        there, lacking = await sources.workspaces(self._call, wanted.agents)
        self.missing = decide_missing(lacking, wanted.allow_missing)
        for each in self.missing:
            await self._call.note(f"the workspace of {each.agent} is not kept: {each.workspace} {each.why}", "warn")
        self._sources = [*there, *wanted.folders]
        self._agents = await context.rows(context.views.agents)
        amount = await sources.amount(context, self._folders, self._sources) if measure else (0, 0)
        return ProgressReport(self._call.note, "reading", *amount, mind=partial(mind_room, context))

    async def save(self, report: ProgressReport) -> Saved:
        """Read all, and have it in the archive. Raises Torn, Refused, and what the moments raise."""
        return await trio.to_thread.run_sync(self._save, report)

    # ---- in the thread that reads workspaces ----

    def _save(self, report: ProgressReport) -> Saved:
        archive = self._folders.archive()
        wanted = self._wanted
        return archive.save(
            self._trees(),
            self._name,
            self._meta,
            allow_torn=wanted.allow_torn,
            allow_unread=wanted.allow_missing
            and wanted.asked,  # a snapshot that undoes something must hold whole trees
            progress=report.scanned,
        )

    def _trees(self) -> Iterator[Tree]:
        """The trees to archive; the archive reads each completely before it asks for the next.

        It is ready when it asks for the first, so that no agent is paused longer than the reading takes.
        """
        moments, wanted = self._moments, self._wanted
        if not wanted.rolling:
            trio.from_thread.run(moments.rest, wanted.agents)
            self._cut()
            self.workspaces = [self._placed(source, self.position) for source in self._sources]
        trio.from_thread.run(moments.quiet)
        for source in self._sources:
            if wanted.rolling:
                trio.from_thread.run(moments.rest, (source.agent,))
                head = trio.from_thread.run(self._context.call, self._context.store.log.head)
                self.workspaces.append(self._placed(source, head.seq))
            yield Tree(source.tree, source.path, source.place)
            if wanted.rolling:
                trio.from_thread.run_sync(moments.let_go)
        if wanted.rolling:
            self._cut()
        else:
            trio.from_thread.run_sync(moments.let_go)
        checkpoint_folder = self._write_checkpoint()
        yield Tree("checkpoint", checkpoint_folder, checkpoint_folder)
        if wanted.include_logs:
            yield from self._logs()

    def _cut(self) -> None:
        self.position = trio.from_thread.run(self._moments.cut)

    @staticmethod
    def _placed(source: Source, position: int) -> SnapshotWorkspace:
        return SnapshotWorkspace(source.agent, source.place, source.tree, position, source.mounted)

    def _write_checkpoint(self) -> str:
        context = self._context
        folder, written = trio.from_thread.run(context.insist, self._checkpoint, APPEND_S_MAX)
        self._meta |= encode(
            SnapshotMeta(
                namespace=context.settings.namespace,
                node=context.node,
                position=self.position,
                chain=written.chain,
                digests=written.digests,
                folds=written.folds,
                workspace_root=str(context.settings.workspace_root),
                reason=self._wanted.reason,
                automatic=self._wanted.reason != ASKED,
                output=self._wanted.output,
                taken_at=time.time_ns() // 1_000_000,
                rolling=self._wanted.rolling,
                workspaces=tuple(self.workspaces),
                missing=self.missing,
                containers=sources.containers(self._agents),
            )
        )
        return str(folder)

    async def _checkpoint(self) -> tuple[Path, checkpoint.Checkpoint]:
        """The log up to the cut, in a folder: it does not change any more, so that it may be written again."""
        folder = self._folders.folder("checkpoint")
        return folder, await trio.to_thread.run_sync(checkpoint.write, self._context.store, folder, self.position)

    def _logs(self) -> Iterator[Tree]:
        agents = self._wanted.agents
        root = str(self._context.settings.workspace_root)
        for row in self._agents:
            if (agents is None or row.id in agents) and row.node in (None, self._context.node):
                folder = self._folders.folder(f"logs-{row.id}")
                if sources.gather_logs(row.workspace_root or root, row.id, folder):
                    yield Tree(f"logs/{row.id}", str(folder), str(folder))
