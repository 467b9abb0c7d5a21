"""One restore under way: snapshot what is there, stop, stage, exchange, say so in the log, let go on.

Until the stages take their places everything can be taken back, and is, whatever goes wrong; from then on everything is
done, if need be by the next process (`recovery`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from maestro.model.agent import decide_stop
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.events import NewEvent, RestoreStarted
from maestro.model.restore import Archived
from maestro.runtime.context import Call
from maestro.runtime.handlers.nodes import resume
from maestro.runtime.logs import log
from maestro.runtime.restoring.concluding import abandon, conclude, stop_reason
from maestro.runtime.restoring.journal import Begun, Journal, Target, identity
from maestro.runtime.restoring.opening import Origins
from maestro.runtime.restoring.origins import Stage
from maestro.runtime.restoring.planning import Placement, Planned, Wish
from maestro.runtime.rows import Row, damaged_row, when
from maestro.runtime.snapshots.shelf import Shelf
from maestro.runtime.snapshots.sources import Source
from maestro.runtime.snapshots.taking import Wanted, take
from maestro.workspaces.archive.judging import Lost
from maestro.workspaces.exchange import Exchange

STOP_S_MAX = 60.0
LOOK_EVERY_S = 0.5
ANOTHER = "use another snapshot: `maestro state snapshots` lists all"


class How(msgspec.Struct, frozen=True):
    """How a restore is done. reason: `restore`, or `rollback`, its incident name."""

    reason: str = "restore"
    skip_verify: bool = False
    resume: bool = False


class Restore:
    """One under way, with the right to it."""

    def __init__(self, call: Call, planned: Planned, origins: Origins, journal: Journal, exchange: Exchange) -> None:
        self._call = call
        self._context = call.context
        self._planned = planned
        self._origins = origins
        self._journal = journal
        self._exchange = exchange
        self._placements = planned.restorable
        self._skipped = list(planned.failing)
        self._skips = False
        self._lost: list[Row] = []

    async def run(self, restore: str, wish: Wish, how: How) -> Row:
        context, planned = self._context, self._planned
        self._skips = wish.skip_failed
        before = await self._snapshot(wish, how)
        begun = Begun(
            restore=restore,
            to=planned.to,
            source=planned.source,
            before=before,
            actor=self._call.caller.actor,
            cause=self._call.cause,
            resume=how.resume,
            stopped=[fate.agent for fate in planned.fates if fate.stopped],
            assigned=planned.assigned,
        )
        self._call.when_interrupted(lambda: self._interrupted(begun))
        await trio.to_thread.run_sync(self._journal.write, begun)
        async with Shelf(context.settings.home).turn(self._wait):  # nobody sees one half of it
            try:
                await self._prepare(begun)
            except BaseException as error:
                with trio.CancelScope(shield=True):
                    await self._give_up(begun, error)
                raise
            with trio.CancelScope(shield=True):
                row = await self._finish(begun)
        return row

    async def _wait(self) -> None:
        await self._call.note("waiting until the snapshot that is being taken is complete")

    async def _snapshot(self, wish: Wish, how: How) -> str:
        """What is there now, so that the restore can be undone. What lies on a node that is gone cannot be read."""
        planned, here = self._planned, self._context.node
        agents = None
        if planned.to is None:
            agents = tuple(fate.agent for fate in planned.fates)
        elif wish.skip_failed or any(row.node in planned.away for row in planned.now.values()):
            left_out = planned.away if not wish.skip_failed else {row.node for row in planned.now.values()} - {here}
            agents = tuple(row.id for row in planned.now.values() if row.node is None or row.node not in left_out)
        await self._call.note("taking a snapshot of what is there now", "progress")
        folders = tuple(await trio.to_thread.run_sync(self._replaced))
        taken = await take(self._call, Wanted(reason=how.reason, agents=agents, folders=folders, allow_torn=True))
        return taken.row.id

    def _replaced(self) -> list[Source]:
        """Folders that are nobody's workspace now, and would be replaced."""
        here = (None, self._context.node)
        held = {row.workspace for row in self._planned.now.values() if row.node in here}
        places = [placement for placement, _ in self._placements if placement.workspace not in held]
        return [
            Source(f"replaced/{each.agent}", each.workspace, each.agent)
            for each in places
            if Path(each.workspace).is_dir()
        ]

    # ---- what can be taken back ----

    async def _prepare(self, begun: Begun) -> None:
        """To the point from which on it is done: the stages have their places."""
        if begun.to is not None:
            await self._start(begun)
        await self._stop(begun)
        still = self._context.daemon.stillness() if self._context.daemon else None
        try:
            if still is not None:
                await still.begin(None if begun.to is not None else begun.stopped)
            await self._stage(begun)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._place, begun)
        finally:
            if still is not None:
                still.end()

    async def _start(self, begun: Begun) -> None:
        context = self._context
        assert begun.to is not None
        fact = RestoreStarted(begun.restore, begun.to, begun.source, begun.before)

        async def decision() -> list[NewEvent]:
            return [NewEvent(f"restore:{begun.restore}", fact, await context.floor())]

        await context.decide(self._call, decision)

    async def _stop(self, begun: Begun) -> None:
        """Stop the agents, here and elsewhere, and wait until their runs are gone. Raises Refused."""
        context = self._context
        for name in begun.stopped:

            async def decision(name: str = name) -> list[NewEvent]:
                row = await context.row(context.views.agent, name)
                return decide_stop(name, row, stop_reason(begun.restore), False, await context.floor()) if row else []

            await context.decide(self._call, decision)
        await self._call.note("stopping the agents", "progress")
        head = await context.call(context.store.log.head)
        await context.changed(head.seq - 1)
        with trio.move_on_after(STOP_S_MAX) as scope:
            while running := self._running(begun):
                await trio.sleep(LOOK_EVERY_S if len(running) > 1 else 0.05)
        if scope.cancelled_caught:
            which = ", ".join(self._running(begun))
            raise Refused(
                f"these agents did not stop within {STOP_S_MAX:.0f} s: {which}", mend="agent stop <id> --force"
            )

    def _running(self, begun: Begun) -> list[str]:
        """The agents with a run that somebody still has to end. Who has gone away ends none."""
        daemon = self._context.daemon
        if daemon is None:
            return []
        runs = daemon.plan().crew.live.values()
        mine = [run for run in runs if begun.to is not None or run.agent in begun.stopped]
        return [run.agent for run in mine if run.node not in self._planned.away]

    async def _stage(self, begun: Begun) -> None:
        """Fill a stage beside each workspace. What fails is left out where that was asked for."""
        by_origin: dict[str, list[tuple[Placement, Archived]]] = {}
        for placement, archived in self._placements:
            by_origin.setdefault(archived.snapshot, []).append((placement, archived))
        for name, held in by_origin.items():
            origin = await self._origins.snapshot(name)
            await self._call.note(f"putting {len(held)} workspaces back from {origin.path or name}", "progress")
            stages = await trio.to_thread.run_sync(self._stages, held)
            lost: dict[str, list[Lost]] | None = {} if self._skips else None
            failed = await trio.to_thread.run_sync(origin.put, stages, lost)
            for stage, (placement, archived) in zip(stages, held, strict=True):
                if stage.tree in failed:
                    await self._leave_out(stage, placement, failed[stage.tree])
                    continue
                for one in (lost or {}).get(stage.tree, []):
                    self._lost.append(damaged_row(placement.agent, placement.workspace, one))
                new = identity(stage.path)
                begun.targets.append(Target(placement.workspace, archived.snapshot, archived.held.tree, new))

        if begun.to is None and not begun.targets:
            raise VerificationFailed(f"nothing can be put back: {self._skipped[-1].why_not}", mend=ANOTHER)

    def _stages(self, held: Sequence[tuple[Placement, Archived]]) -> list[Stage]:
        stages = []
        for placement, archived in held:
            Path(placement.workspace).parent.mkdir(parents=True, exist_ok=True)
            path = self._exchange.stage(placement.workspace)
            stages.append(Stage(archived.held.tree, path, placement.workspace))
        return stages

    async def _leave_out(self, stage: Stage, placement: Placement, error: MaestroError) -> None:
        if not self._skips:
            raise error
        placement.why_not, placement.damaged = error.line(), isinstance(error, VerificationFailed)
        self._skipped.append(placement)
        await trio.to_thread.run_sync(self._exchange.forget, stage.path)

    def _place(self, begun: Begun) -> None:
        """Blocks. Raises Refused: then all are old."""
        failing = {each.agent for each in self._skipped}
        begun.assigned = [each for each in begun.assigned if each.agent not in failing]
        begun.placing = True
        self._journal.write(begun)
        self._exchange.commit()

    async def _give_up(self, begun: Begun, error: BaseException) -> None:
        """All is as it was; where the log cannot be told now, the next process tells it."""
        reason = error.line() if isinstance(error, MaestroError) else "it was interrupted"
        try:
            if not await trio.to_thread.run_sync(self._exchange.drop):
                log.error("restore %s was broken off while folders took their places: %s", begun.restore, reason)
                return
            await abandon(self._context, begun, reason)
            await trio.to_thread.run_sync(self._journal.end)
        except MaestroError as failure:
            log.error("restore %s was given up, and the log does not know yet: %s", begun.restore, failure.line())

    async def _interrupted(self, begun: Begun) -> str:
        if begun.placing:
            return f"the restore is complete; to undo it: {_undo(begun)}"
        return "interrupted; nothing was changed"

    # ---- what is done in any case ----

    async def _finish(self, begun: Begun) -> Row:
        context, planned = self._context, self._planned
        await conclude(context, begun, planned.past if begun.to is not None else None)
        await trio.to_thread.run_sync(self._journal.end)
        head = await context.call(context.store.log.head)
        await context.changed(head.seq - 1)
        if begun.to is not None:
            await resume(self._call, [], "restored")
        await self._remember(begun)
        undo = _undo(begun)
        await self._call.note(f"to undo it: {undo}")
        return {
            "restore": begun.restore,
            "source": begun.source,
            "position": planned.past.position,
            "at": when(planned.past.at),
            "state_restored": begun.to is not None,
            "workspaces": [self._told(placement, archived) for placement, archived in self._done(begun)],
            "skipped": [
                {"agent": each.agent, "workspace": each.workspace, "why": each.why_not, "damaged": each.damaged}
                for each in self._skipped
            ],
            "damaged": self._lost,
            "cancelled": [] if begun.resume or begun.to is None else [task.id for task in planned.past.tasks],
            "resumed": [task.id for task in planned.past.tasks] if begun.resume and begun.to is not None else [],
            "before": begun.before,
            "undo": undo,
        }

    def _done(self, begun: Begun) -> list[tuple[Placement, Archived]]:
        put = {target.workspace for target in begun.targets}
        return [(placement, archived) for placement, archived in self._placements if placement.workspace in put]

    def _told(self, placement: Placement, archived: Archived) -> Row:
        return {
            "agent": placement.agent,
            "workspace": placement.workspace,
            "snapshot": archived.snapshot,
            "archived_position": archived.position,
            "events_apart": self._planned.past.position - archived.position,
        }

    async def _remember(self, begun: Begun) -> None:
        """The next snapshot need not read these again."""
        archive = await self._origins.archive()
        for target in begun.targets:
            origin = await self._origins.snapshot(target.snapshot)
            try:
                if not origin.path:
                    await trio.to_thread.run_sync(archive.remember, target.snapshot, target.tree, target.workspace)
            except (MaestroError, OSError) as error:
                log.info("what was restored is not remembered: %s", error)


def _undo(begun: Begun) -> str:
    """The command that puts back what was there before."""
    only = (
        "" if begun.to is not None else "".join(f" --workspace {shlex.quote(each.workspace)}" for each in begun.targets)
    )
    return f"maestro state restore {begun.before}{only}"
