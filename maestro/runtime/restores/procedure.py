"""One restore, step by step: stop agents, snapshot what is there, fill stages, swap them in, record it, let agents go
on.

The restore can be undone until the swap, and is, whatever fails; from the swap on it is finished, if need be by the
next process (`crash_recovery`). What is there is read after the agents have been stopped, and nothing of theirs runs
from then on until the swap: all that they wrote is in the snapshot that undoes the restore. That snapshot is of a
position before they were stopped, so that undoing the restore finds them as they were.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import trio

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.events import NewEvent, RestoreStarted
from maestro.model.restore import Archived
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import APPEND_S_MAX, Call
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.patience import patiently
from maestro.runtime.node.resume import resume
from maestro.runtime.provision.exclusion import Exclusion
from maestro.runtime.restores.answer import Answer, foreign_told, undo_told
from maestro.runtime.restores.bystanders import Bystander, look, moved_from
from maestro.runtime.restores.conclusion import conclude, end
from maestro.runtime.restores.halt import Halt
from maestro.runtime.restores.journal import Target, UnderWay
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Stage
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.server.rows import Row, damaged_row
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.procedure import take_in_turn, turn
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.request import SnapshotRequest
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.folders import is_folder

SEEN_S_MAX = 5.0
"""How long to wait until this daemon has followed the log to the restore's end; one that is stopping never does."""
ANOTHER = "use another snapshot: `maestro state snapshots` lists all"


class RestoreOptions(msgspec.Struct, frozen=True):
    """How a restore is done. reason: `restore`, or `rollback` where the user calls it that. kept: the snapshot of what
    is there, where the caller has taken it.
    """

    reason: str = "restore"
    skip_verify: bool = False
    resume: bool = False
    kept: str = ""


class RestoreProcedure:
    """Carries out one planned restore. under_way: the right to restore on this node, which the caller holds.

    confirm: awaited when the stages are whole; what it raises undoes the restore. skips: what cannot be put back is
    left out: the workspaces are in `skipped`, damaged files in `lost`. reuses: files that have not changed get a second
    name, which an agent at work would write through.
    """

    def __init__(
        self,
        call: Call,
        planned: RestorePlan,
        origins: OpenOrigins,
        under_way: UnderWay,
        confirm: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._call = call
        self._context = call.context
        self._planned = planned
        self._origins = origins
        self._confirm = confirm
        self._journal, self._exchange, self._begun = under_way
        self._placements = planned.restorable
        self.skipped = list(planned.failing)
        self.skips = False
        self.reuses = True
        self._standing: list[Bystander] = []
        self.lost: list[Row] = []

    async def run(self, wish: RestoreRequest, how: RestoreOptions) -> Row:
        """Carry out the restore; returns its answer. Raises Refused, VerificationFailed: then nothing was changed."""
        context, planned, begun = self._context, self._planned, self._begun
        self.skips = wish.skip_failed
        begun.to, begun.source, begun.resume = planned.to, planned.source, how.resume
        begun.stopped = [fate.agent for fate in planned.fates if fate.stopped]
        begun.waiting = planned.waiting
        begun.assigned = planned.assigned
        self._call.when_interrupted(self._interrupted)
        snapshot_folders = SnapshotFolders(context.settings.home)
        # No snapshot is taken of a half-done restore, and what is stopped and swapped is not left so for an outage.
        async with turn(self._call, snapshot_folders):
            with patiently(APPEND_S_MAX):
                row = await self._carried_out(wish, how, snapshot_folders)
        return row

    async def _carried_out(self, wish: RestoreRequest, how: RestoreOptions, snapshot_folders: SnapshotFolders) -> Row:
        try:
            await self._prepare(wish, how, snapshot_folders)
        except BaseException as error:
            with trio.CancelScope(shield=True):
                await self._give_up(error)
            raise
        with trio.CancelScope(shield=True):
            row = await self._finish()
        return row

    # ---- reversible ----

    async def _prepare(self, wish: RestoreRequest, how: RestoreOptions, snapshot_folders: SnapshotFolders) -> None:
        """Stop agents, fill stages, swap them in. Reversible until the swap."""
        halt = Halt(self._call, self._begun, self._planned.away)
        try:
            await self._keep(wish, how, snapshot_folders, halt)
            await self.stage()
            await self._confirm()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.place)
        finally:
            halt.end()

    async def _keep(
        self, wish: RestoreRequest, how: RestoreOptions, snapshot_folders: SnapshotFolders, halt: Halt
    ) -> None:
        """Stop the agents, and take the snapshot that undoes the restore. Workspaces on a node that is gone are left
        out.
        """
        planned, here = self._planned, self._context.node
        agents = None
        if planned.to is None:
            agents = tuple(fate.agent for fate in planned.fates)
        elif wish.skip_failed or any(row.node in planned.away for row in planned.now.values()):
            left_out = planned.away if not wish.skip_failed else {row.node for row in planned.now.values()} - {here}
            agents = tuple(row.id for row in planned.now.values() if row.node is None or row.node not in left_out)

        async def quiet(snapshot: str) -> None:
            self._begun.before = snapshot
            await trio.to_thread.run_sync(self._journal.write, self._begun)
            if self._begun.to is not None:
                await self._start()
            await halt.begin()
            await self._call.note("taking a snapshot of what is there now", "progress")

        if how.kept:
            await quiet(how.kept)
            return
        folders = tuple(await trio.to_thread.run_sync(self._replaced))
        wanted = SnapshotRequest(how.reason, agents, folders, allow_torn=True, allow_missing=True)
        taken = await take_in_turn(self._call, wanted, snapshot_folders, quiet)
        self._begun.lacking = self._lacks(taken.row)

    def _lacks(self, before: Snapshot) -> bool:
        """Whether the snapshot that undoes the restore lacks a workspace that is to be put back from it then."""
        held = {(each.agent, each.workspace) for each in before.workspaces}
        if self._planned.to is None:
            return not {each.workspace for each, _ in self._placements} <= {place for _, place in held}
        return any(
            row.workspace is not None and (row.id, row.workspace) not in held for row in self._planned.now.values()
        )

    def _replaced(self) -> list[Source]:
        """The folders that are no agent's workspace now, and that the restore would replace."""
        here = (None, self._context.node)
        held = {row.workspace for row in self._planned.now.values() if row.node in here}
        places = [placement for placement, _ in self._placements if placement.workspace not in held]
        return [
            Source(f"replaced/{each.agent}", each.workspace, each.agent) for each in places if is_folder(each.workspace)
        ]

    async def _start(self) -> None:
        context, begun = self._context, self._begun
        assert begun.to is not None
        fact = RestoreStarted(begun.restore, begun.to, begun.source, begun.before)

        async def decision() -> list[NewEvent]:
            return [NewEvent(f"restore:{begun.restore}", fact, await context.floor())]

        await context.decide(self._call, decision)

    async def stage(self) -> None:
        """Fill a stage beside each workspace. A workspace that fails is left out with --skip-failed, else raises."""
        by_origin: dict[tuple[str, str], list[tuple[Placement, Archived]]] = {}
        for placement, archived in self._placements:
            by_origin.setdefault((archived.snapshot, archived.node), []).append((placement, archived))
        for (name, node), held in by_origin.items():
            try:
                origin = await self._origins.snapshot(name, node)
            except MaestroError as error:
                if not self.skips or (isinstance(error, Refused) and self._begun.across and self.reuses):
                    raise  # what is decided already is tried again until its archive is in reach
                for placement, _ in held:
                    placement.why_not, placement.damaged = error.line(), isinstance(error, VerificationFailed)
                    self.skipped.append(placement)
                continue
            report = ProgressReport(
                self._call.note,
                f"putting {len(held)} workspace{'' if len(held) == 1 else 's'} back from {origin.path or name}",
            )
            stages = await trio.to_thread.run_sync(self._stages, held)
            lost: dict[str, list[Lost]] | None = {} if self.skips else None
            failed = await trio.to_thread.run_sync(origin.put, stages, report.written, lost)
            for stage, (placement, archived) in zip(stages, held, strict=True):
                if stage.tree in failed:
                    await self._leave_out(stage, placement, failed[stage.tree])
                    continue
                for one in (lost or {}).get(stage.tree, []):
                    self.lost.append(damaged_row(placement.agent, placement.workspace, one))
                target = Target(placement.workspace, archived.snapshot, archived.held.tree, agent=placement.agent)
                target.foreign, target.name = placement.is_foreign, self._planned.name_of(placement)
                target.record(stage.path, self._exchange.mark(stage.path))
                self._begun.targets.append(target)

        if self._begun.to is None and not self._begun.targets:
            raise VerificationFailed(f"nothing can be put back: {self.skipped[-1].why_not}", mend=ANOTHER)

    def _stages(self, held: Sequence[tuple[Placement, Archived]]) -> list[Stage]:
        for placement, _ in held:
            Path(placement.workspace).parent.mkdir(parents=True, exist_ok=True)
        paths = self._exchange.stages(placement.workspace for placement, _ in held)
        return [
            Stage(archived.held.tree, path, placement.workspace if self.reuses else None)
            for path, (placement, archived) in zip(paths, held, strict=True)
        ]

    async def _leave_out(self, stage: Stage, placement: Placement, error: MaestroError) -> None:
        if not self.skips:
            raise error
        placement.why_not, placement.damaged = error.line(), isinstance(error, VerificationFailed)
        self.skipped.append(placement)
        await trio.to_thread.run_sync(self._exchange.forget, stage.path)

    def place(self) -> None:
        """Swap the stages in. Blocks. Raises Refused: then all workspaces are old, but for those that the
        error names.
        """
        begun = self._begun
        failing = {each.agent for each in self.skipped}
        if self._planned.branch is not None:  # where it was before the fork is another namespace's folder
            failing = set()
        begun.assigned = [each for each in begun.assigned if each.workspace is None or each.agent not in failing]
        if begun.to is not None:
            begun.assigned += self._planned.left_out(failing)
        places = [target.workspace for target in begun.targets]
        self._standing = look(places)
        others = Exclusion(places)
        others.take()
        try:
            begun.placing = True
            self._journal.write(begun)
            self._exchange.commit()
        finally:
            others.release()

    async def _give_up(self, error: BaseException) -> None:
        """Undo a restore that failed before the swap, and record that it failed, later if the store is away now."""
        reason = error.line() if isinstance(error, MaestroError) else "it was interrupted"
        restore = self._begun.restore
        try:
            if not await trio.to_thread.run_sync(self._exchange.drop):
                log.error("restore %s was broken off while folders took their places: %s", restore, reason)
                return
            if await trio.to_thread.run_sync(self._journal.read) is not None:
                await end(self._context, self._begun, reason)
                await trio.to_thread.run_sync(self._journal.end)
        except (MaestroError, OSError) as failure:
            said = failure.line() if isinstance(failure, MaestroError) else failure
            log.error("restore %s was given up, and the log does not know yet: %s", restore, said)

    async def _interrupted(self) -> str:
        if self._begun.placing:
            return f"the restore is complete; {undo_told(self._begun)}"
        return "interrupted; nothing was changed"

    # ---- after the swap ----

    async def _finish(self) -> Row:
        context, planned, begun = self._context, self._planned, self._begun
        await conclude(context, begun, planned.past if begun.to is not None else None)
        await trio.to_thread.run_sync(self._journal.end)
        head = await context.call(context.store.log.head)
        with trio.move_on_after(SEEN_S_MAX):
            await context.changed(head.seq - 1)
        if begun.to is not None:
            await resume(self._call, [], "restored")
        await self.remember()
        for left in self._exchange.left:
            await self._call.note(f"what was there before cannot be removed, and is left in {left}", "warn")
        await self._call.note(undo_told(begun))
        for told in foreign_told(begun):
            await self._call.note(told)
        standing = await trio.to_thread.run_sync(moved_from, self._standing)
        lacking = (self.skipped, self.lost)
        answer = Answer(begun, planned, self._placements, lacking, standing)
        return answer.row() | {"left": list(self._exchange.left)}

    async def remember(self) -> None:
        """Tell the archive what lies in the workspaces now, so that the next snapshot need not read it again."""
        archive = await self._origins.archive()
        elsewhere = {archived.snapshot for _, archived in self._placements if archived.node}
        for target in self._begun.targets:
            if target.snapshot in elsewhere:
                continue
            origin = await self._origins.snapshot(target.snapshot)
            try:
                if not origin.path:
                    await trio.to_thread.run_sync(archive.remember, target.snapshot, target.tree, target.workspace)
            except (MaestroError, OSError) as error:
                log.info("what was restored is not remembered: %s", error)
