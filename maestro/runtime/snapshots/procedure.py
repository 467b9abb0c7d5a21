"""Taking a snapshot: pause the agents, append the cut, read their workspaces, let them go on, write the log.

The cut is an event: its seq is the snapshot's position. The agents are paused from just before it until their
workspaces are read, and go on whichever way this ends; the log up to the cut is written after that, as it cannot change
any more. With `rolling` one agent at a time is paused, each workspace has a position of its own, and the cut comes when
all are read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from maestro.model.agent import Agent
from maestro.model.errors import Conflict, MaestroError
from maestro.model.events import (
    NewEvent,
    SnapshotFailed,
    SnapshotMissing,
    SnapshotStarted,
    SnapshotTaken,
    SnapshotWorkspace,
)
from maestro.model.snapshot import Snapshot, decide_end, decide_missing, decide_start, latest
from maestro.runtime.node.context import Call
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import user_error
from maestro.runtime.snapshots import sources
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import SnapshotMeta, encode
from maestro.runtime.snapshots.progress import ProgressReport, mind_room
from maestro.runtime.snapshots.request import ASKED, SnapshotRequest, TakenSnapshot
from maestro.runtime.snapshots.scrub import known_damage, tell_healed
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.write.snapshot_writer import Saved, Source as Tree
from replayers import checkpoint

Quiet = Callable[[str], Awaitable[None]]
FAIL_S_MAX = 5.0
"""How long the end of a snapshot that failed may wait for the store; the next start of the daemon says it too."""


async def take(call: Call, wanted: SnapshotRequest) -> TakenSnapshot:
    """Take a snapshot of this node's workspaces and of the log. A second one waits for the first.

    Raises Torn where files changed while they were read (unless allowed), Refused where an agent cannot be paused, a
    workspace is not there to be read (unless allowed), or a disk is full; then there is no snapshot, what there was is
    as it was, and all agents go on.
    """
    folders = SnapshotFolders(call.context.settings.home)
    async with turn(call, folders):
        return await take_in_turn(call, wanted, folders)


def turn(call: Call, folders: SnapshotFolders) -> AbstractAsyncContextManager[None]:
    """Hold the right to take a snapshot during the block. A user who has to wait for it is told."""

    async def wait() -> None:
        await call.note("waiting until the snapshot that is being taken is complete")

    return folders.turn(wait)


async def take_in_turn(
    call: Call, wanted: SnapshotRequest, folders: SnapshotFolders, quiet: Quiet | None = None
) -> TakenSnapshot:
    """Take a snapshot, as `take` does, by a caller that has the turn.

    quiet: called with the snapshot's id between the cut and the reading, with no agent paused; it stops the agents.
    """
    try:
        damaged = await known_damage(folders)
        taken = await _Procedure(call, wanted, folders, quiet).run()
        await tell_healed(call, folders, damaged)
        return taken
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(folders.sweep)


def new_name() -> str:
    """A new id of a snapshot, which begins with the time in UTC, so that ids sort by it."""
    return f"s-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"


class _Procedure:
    """Takes one snapshot. `_meta` is the account in its manifest, empty until the log is written."""

    def __init__(
        self, call: Call, wanted: SnapshotRequest, folders: SnapshotFolders, quiet: Quiet | None = None
    ) -> None:
        self._call = call
        self._quiet = quiet
        self._context = call.context
        self._wanted = wanted
        self._folders = folders
        self._id = wanted.name or new_name()
        self._position = 0
        self._agents: list[Agent] = []
        self._sources: list[Source] = []
        self._workspaces: list[SnapshotWorkspace] = []
        self._missing: tuple[SnapshotMissing, ...] = ()
        self._meta: dict[str, object] = {}
        daemon = call.context.daemon
        self._still = daemon.runs.pause() if daemon else None

    async def run(self) -> TakenSnapshot:
        wanted, context = self._wanted, self._context
        there, lacking = await sources.workspaces(self._call, wanted.agents)
        self._missing = decide_missing(lacking, wanted.allow_missing)
        for each in self._missing:
            await self._call.note(f"the workspace of {each.agent} is not kept: {each.workspace} {each.why}", "warn")
        self._sources = [*there, *wanted.folders]
        self._agents = await context.rows(context.views.agents)
        amount = await sources.amount(context, self._folders, self._sources)
        report = ProgressReport(self._call.note, "reading", *amount, mind=partial(mind_room, context))
        try:
            saved = await trio.to_thread.run_sync(self._save, report)
            exported = await self._export() if wanted.output else None
            return TakenSnapshot(await self._end(saved), exported)
        except BaseException as error:
            await self._fail(error)
            raise
        finally:
            self._let_go()

    # ---- the cut ----

    async def _rest(self, agents: tuple[str, ...] | None) -> None:
        if self._still is not None:
            for warning in await self._still.begin(agents):
                await self._call.note(warning, "warn")

    def _let_go(self) -> None:
        if self._still is not None:
            self._still.end()

    async def _cut(self) -> None:
        """Append `snapshot.started`: the workspaces are read as of its seq."""
        context, wanted = self._context, self._wanted
        asked = [source.agent for source in self._sources if source.tree.startswith("workspaces/")]
        agents = (*asked, *(each.agent for each in self._missing))
        fact = SnapshotStarted(self._id, wanted.reason, wanted.reason != ASKED, agents, context.node, wanted.run)

        async def decision() -> list[NewEvent]:
            row = await context.row(context.views.snapshot, self._id)
            return decide_start(fact, row, await context.floor())

        committed = await context.decide(self._call, decision)
        assert committed is not None
        self._call.patient = True
        self._position = committed.last
        if not wanted.rolling:
            self._workspaces = [self._placed(source, self._position) for source in self._sources]

    @staticmethod
    def _placed(source: Source, position: int) -> SnapshotWorkspace:
        return SnapshotWorkspace(source.agent, source.place, source.tree, position, source.mounted)

    # ---- in the thread that reads workspaces ----

    def _save(self, report: ProgressReport) -> Saved:
        archive = self._folders.archive()
        wanted = self._wanted
        return archive.save(
            self._trees(),
            self._id,
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
        if not self._wanted.rolling:
            trio.from_thread.run(self._rest, self._wanted.agents)
            trio.from_thread.run(self._cut)
        if self._quiet is not None:
            trio.from_thread.run_sync(self._let_go)  # a paused run cannot be stopped
            trio.from_thread.run(self._quiet, self._id)
        for source in self._sources:
            if self._wanted.rolling:
                trio.from_thread.run(self._rest, (source.agent,))
                head = trio.from_thread.run(self._context.call, self._context.store.log.head)
                self._workspaces.append(self._placed(source, head.seq))
            yield Tree(source.tree, source.path, source.place)
            if self._wanted.rolling:
                trio.from_thread.run_sync(self._let_go)
        if self._wanted.rolling:
            trio.from_thread.run(self._cut)
        else:
            trio.from_thread.run_sync(self._let_go)
        checkpoint_folder = self._write_checkpoint()
        yield Tree("checkpoint", checkpoint_folder, checkpoint_folder)
        if self._wanted.include_logs:
            yield from self._logs()

    def _write_checkpoint(self) -> str:
        context = self._context
        folder = self._folders.folder("checkpoint")
        written = checkpoint.write(context.store, folder, self._position)
        self._meta |= encode(
            SnapshotMeta(
                namespace=context.settings.namespace,
                node=context.node,
                position=self._position,
                chain=written.chain,
                digests=written.digests,
                folds=written.folds,
                workspace_root=str(context.settings.workspace_root),
                reason=self._wanted.reason,
                automatic=self._wanted.reason != ASKED,
                output=self._wanted.output,
                taken_at=time.time_ns() // 1_000_000,
                rolling=self._wanted.rolling,
                workspaces=tuple(self._workspaces),
                missing=self._missing,
                containers=sources.containers(self._agents),
            )
        )
        return str(folder)

    def _logs(self) -> Iterator[Tree]:
        agents = self._wanted.agents
        root = str(self._context.settings.workspace_root)
        for row in self._agents:
            if (agents is None or row.id in agents) and row.node in (None, self._context.node):
                folder = self._folders.folder(f"logs-{row.id}")
                if sources.gather_logs(row.workspace_root or root, row.id, folder):
                    yield Tree(f"logs/{row.id}", str(folder), str(folder))

    # ---- the export, and the end in the log ----

    async def _export(self) -> Exported:
        out = self._wanted.output
        report = ProgressReport(self._call.note, f"writing {out}", mind=partial(mind_room, self._context))

        def work() -> Exported:
            self._folders.note_output(out)
            return self._folders.archive().export(self._id, out, progress=report.written)

        return await trio.to_thread.run_sync(work)

    async def _end(self, saved: Saved) -> Snapshot:
        taken = SnapshotTaken(
            self._id,
            self._position,
            self._wanted.reason != ASKED,
            self._wanted.output,
            self._wanted.reason,
            saved.manifest,
            tuple(self._workspaces),
            saved.bytes,
            saved.added_bytes,
            tuple(saved.torn),
            self._context.node,
            tuple(saved.not_held),
            self._missing,
        )
        await self._append(taken)
        context = self._context
        rows = await context.rows(context.views.snapshots)
        await trio.to_thread.run_sync(self._folders.point, latest(rows))
        await self._warn(saved)
        found = next((row for row in rows if row.id == self._id), None)
        if found is None:
            raise Conflict(f"snapshot {self._id} was given up by another process", mend="take it again")
        return found

    async def _warn(self, saved: Saved) -> None:
        told = (
            ("changed while it was read", saved.torn),
            ("is left out: no file", saved.left_out),
            ("is not held: a mount point, or unreadable", saved.not_held),
        )
        for what, paths in told:
            if paths:
                more = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
                await self._call.note(f"{paths[0]} {what}{more}", "warn")

    async def _append(self, fact: SnapshotTaken | SnapshotFailed) -> None:
        context = self._context

        async def decision() -> list[NewEvent]:
            row = await context.row(context.views.snapshot, self._id)
            return decide_end(fact, row, await context.floor())

        await context.decide(self._call, decision)

    async def _fail(self, error: BaseException) -> None:
        """Append `snapshot.failed` where `snapshot.started` was appended. If that fails, the next start of the daemon
        does it.
        """
        known = user_error(error) if isinstance(error, Exception) else None
        reason = known.line() if known else "interrupted" if isinstance(error, trio.Cancelled) else repr(error)
        self._let_go()
        with trio.CancelScope(shield=True), trio.move_on_after(FAIL_S_MAX):
            try:
                await self._append(SnapshotFailed(self._id, reason))
            except MaestroError as failure:
                log.warning("snapshot %s: %s; and before that: %s", self._id, failure.line(), reason)
