"""Taking a snapshot: pause the agents, append the cut, read their workspaces, let them go on, write the log.

The cut is an event: its seq is the snapshot's position. The agents are paused from just before it until their
workspaces are read, and go on whichever way this ends; the log up to the cut is written after that, as it cannot change
any more. With `rolling` one agent at a time is paused, each workspace has a position of its own, and the cut comes when
all are read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

import trio

from maestro.model.errors import Conflict, MaestroError
from maestro.model.events import NewEvent, SnapshotFailed, SnapshotStarted, SnapshotTaken
from maestro.model.snapshot import Snapshot, decide_end, decide_start, latest
from maestro.runtime.node.context import APPEND_S_MAX, Call
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.patience import patiently
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.keeping import Keeping
from maestro.runtime.snapshots.progress import ProgressReport, mind_room
from maestro.runtime.snapshots.request import ASKED, SnapshotRequest, TakenSnapshot
from maestro.runtime.snapshots.scrub import known_damage, tell_healed
from maestro.runtime.snapshots.shared.upload import check_reach, copy_up
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.write.snapshot_writer import Saved

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
        return await take_in_turn(call, wanted, folders, lends=True)


def turn(call: Call, folders: SnapshotFolders) -> AbstractAsyncContextManager[None]:
    """Hold the right to take a snapshot during the block. A user who has to wait for it is told."""

    async def wait() -> None:
        await call.note("waiting until the snapshot that is being taken is complete")

    return folders.turn(wait)


async def take_in_turn(
    call: Call, wanted: SnapshotRequest, folders: SnapshotFolders, quiet: Quiet | None = None, lends: bool = False
) -> TakenSnapshot:
    """Take a snapshot, as `take` does, by a caller that has the turn.

    lends: others may have the turn while it is copied. quiet: called with the snapshot's id between the cut and the
    reading, with no agent paused; it stops the agents.
    """
    try:
        damaged = await known_damage(folders)
        taken = await _Procedure(call, wanted, folders, quiet, lends).run()
        await tell_healed(call, folders, damaged)
        return taken
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(folders.sweep)


def new_name() -> str:
    """A new id of a snapshot, which begins with the time in UTC, so that ids sort by it."""
    return f"s-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"


async def tell_contents(call: Call, torn: Sequence[str], left_out: Sequence[str], not_held: Sequence[str]) -> None:
    """Tell the user of what a snapshot holds as somebody has changed it, or does not hold."""
    told = (
        ("changed while it was read", torn),
        ("is left out: no file", left_out),
        ("is not held: a mount point, or unreadable", not_held),
    )
    for what, paths in told:
        if paths:
            more = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
            await call.note(f"{paths[0]} {what}{more}", "warn")


class _Procedure:
    """Takes one snapshot of this node alone: its moments are a pause, and the event that is its cut."""

    def __init__(
        self, call: Call, wanted: SnapshotRequest, folders: SnapshotFolders, quiet: Quiet | None, lends: bool
    ) -> None:
        self._call = call
        self._lends = lends
        self._quiet = quiet
        self._context = call.context
        self._wanted = wanted
        self._folders = folders
        self._id = wanted.name or new_name()
        self._keeping = Keeping(call, wanted, folders, self._id, self)
        daemon = call.context.daemon
        self._still = daemon.runs.pause() if daemon else None

    async def run(self) -> TakenSnapshot:
        wanted = self._wanted
        if not wanted.run:
            await check_reach(self._context)
        report = await self._keeping.prepare()
        try:
            saved = await self._keeping.save(report)
            with patiently(APPEND_S_MAX):  # nobody is paused any more, and all has been read
                if not wanted.run:  # a step does not wait for the shared archive
                    async with self._folders.turn_lent() if self._lends else nullcontext():
                        await copy_up(self._call, self._id)
                exported = await self._export() if wanted.output else None
                return TakenSnapshot(await self._end(saved), exported)
        except BaseException as error:
            await self._fail(error)
            raise
        finally:
            self.let_go()

    # ---- the moments around the reading ----

    async def rest(self, agents: tuple[str, ...] | None) -> None:
        """See `Moments`."""
        if self._still is not None:
            for warning in await self._still.begin(agents):
                await self._call.note(warning, "warn")

    def let_go(self) -> None:
        """See `Moments`."""
        if self._still is not None:
            self._still.end()

    async def quiet(self) -> None:
        """See `Moments`."""
        if self._quiet is not None:
            self.let_go()  # a paused run cannot be stopped
            await self._quiet(self._id)

    async def cut(self) -> int:
        """Append `snapshot.started`: the workspaces are read as of its seq."""
        context, wanted = self._context, self._wanted
        agents = self._keeping.agents
        fact = SnapshotStarted(self._id, wanted.reason, wanted.reason != ASKED, agents, context.node, wanted.run)

        async def decision() -> list[NewEvent]:
            row = await context.row(context.views.snapshot, self._id)
            return decide_start(fact, row, await context.floor())

        committed = await context.decide(self._call, decision)
        assert committed is not None
        self._call.patient = True
        return committed.last

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
            self._keeping.position,
            self._wanted.reason != ASKED,
            self._wanted.output,
            self._wanted.reason,
            saved.manifest,
            tuple(self._keeping.workspaces),
            saved.bytes,
            saved.added_bytes,
            tuple(saved.torn),
            self._context.node,
            tuple(saved.not_held),
            self._keeping.missing,
        )
        await self._append(taken)
        context = self._context
        rows = await context.rows(context.views.snapshots)
        await trio.to_thread.run_sync(self._folders.point, latest(rows))
        await tell_contents(self._call, saved.torn, saved.left_out, saved.not_held)
        found = next((row for row in rows if row.id == self._id), None)
        if found is None:
            raise Conflict(f"snapshot {self._id} was given up by another process", mend="take it again")
        return found

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
        self.let_go()
        with trio.CancelScope(shield=True), trio.move_on_after(FAIL_S_MAX):
            try:
                await self._append(SnapshotFailed(self._id, reason))
            except MaestroError as failure:
                log.warning("snapshot %s: %s; and before that: %s", self._id, failure.line(), reason)
