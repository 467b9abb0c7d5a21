"""The return of one workspace after a bad run: archive what the run left, then go back by the procedure of restores.

Nothing is changed before the archive of what was left is whole. From the exchange on the answer is in the journal of
restores, so that a daemon which is killed at any instant leaves the workspace as it was before the run or as the run
left it, and the next one finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from maestro.model.agent import Agent, Guard
from maestro.model.errors import MaestroError, NotFound, Refused
from maestro.model.events import FailsafeReturned
from maestro.model.monitoring.failsafe import decide_returned
from maestro.model.restore import Archived, Fate
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.ids import new_id
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.workspace_hold import held
from maestro.runtime.restores.conclusion import LEASE
from maestro.runtime.restores.crash_recovery import end_begun
from maestro.runtime.restores.failsafe import left_trees
from maestro.runtime.restores.failsafe.left_trees import LeftTree
from maestro.runtime.restores.journal import BegunRestore, Journal, UnderWay
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import Past
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.restores.procedure import RestoreOptions, RestoreProcedure
from maestro.runtime.restores.rights import in_turn
from maestro.runtime.snapshots import guard_archive
from maestro.runtime.worker.preparation import lock_path
from maestro.workspaces.appearance import lasting_look, look
from maestro.workspaces.archive.write.diff import Diff
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX, Exchange
from maestro.workspaces.exchanges.places import check_place
from maestro.workspaces.folders import is_folder

SETTLED_S = 0.06
"""How long after the return its files are looked at: time stamps that are newer prove nothing."""


class BadEnd(NamedTuple):
    """How a guarded run ended. why: its outcome; ended_at: when its last process was dead, Unix ns, 0 if unknown.

    cause: what events of its return name as their cause.
    """

    agent: str
    run: str
    why: str
    ended_at: int
    cause: str


async def put_back(context: Context, end: BadEnd, gives_up: Callable[[], bool]) -> bool:
    """Have the workspace go back, and tell the log; False where nothing is guarded, or a restore begins.

    Raises Refused where somebody has changed it since the run, or as restores do; VerificationFailed, NotFound for an
    archive that is damaged or gone. Then the workspace is as the run left it.
    """
    row = await _guarded(context, end)
    if row is None or row.guard is None:
        return False
    lock = str(lock_path(context.settings.home, row.guard.workspace))
    async with held(lock), in_turn(context, LEASE, gives_up) as right:
        if right is None:
            return False
        await end_begun(context, right[0])
        row = await _guarded(context, end)
        if row is None or row.guard is None:  # it was this that was begun
            left_trees.forget(context.settings.home, end.agent)
            return True
        with OpenOrigins(context) as origins:
            await _Return(context, end, row, row.guard, origins).run(right)
    return True


async def _guarded(context: Context, end: BadEnd) -> Agent | None:
    row = await context.row(context.views.agent, end.agent)
    return row if row is not None and row.guard is not None and row.guard.run == end.run else None


class _Return:
    """One return, by who holds the right to restore and the workspace."""

    def __init__(self, context: Context, end: BadEnd, row: Agent, guard: Guard, origins: OpenOrigins) -> None:
        self._context = context
        self._home = context.settings.home
        self._end = end
        self._row = row
        self._guard = guard
        self._origins = origins
        self._actor, self._cause = f"worker:{context.node}", end.cause

    async def run(self, right: tuple[Journal, Exchange]) -> None:
        guard, end = self._guard, self._end
        await trio.to_thread.run_sync(check_place, guard.workspace)
        placement = await self._placement()
        seen = await trio.to_thread.run_sync(lasting_look, guard.workspace, STAGE_PREFIX)
        left = await self._left()
        failed = guard.snapshot if left is None else left
        fact = FailsafeReturned(end.agent, end.run, guard.task, guard.workspace, guard.snapshot, failed, end.why)
        if left is None:
            await guard_archive.tell(self._context, decide_returned, fact, self._actor, self._cause)
            return
        begun = BegunRestore(restore=new_id(), cause=self._cause, actor=self._actor)
        begun.guarded = fact

        async def confirm() -> None:
            if await trio.to_thread.run_sync(lasting_look, guard.workspace, STAGE_PREFIX) != seen:
                raise Refused("somebody has changed it while it was about to go back", guard.workspace)

        how = RestoreOptions("failsafe", skip_verify=True, kept=left or guard.snapshot)
        under_way = UnderWay(*right, begun)
        call = _call(self._context, self._cause)
        plan = await self._plan(placement)
        procedure = RestoreProcedure(call, plan, self._origins, under_way, confirm)
        await procedure.run(RestoreRequest(guard.snapshot, workspace=guard.workspace), how)
        await trio.to_thread.run_sync(left_trees.forget, self._home, end.agent)
        await self._remember(placement)

    async def _left(self) -> str | None:
        """The archive of what the run left, "" where not even the folder is there, None where all is as it was.

        Raises Refused where somebody else has changed the workspace.
        """
        guard, end = self._guard, self._end
        noted = await trio.to_thread.run_sync(left_trees.noted, self._home, end.agent, end.run)
        if noted is not None:
            if not (await self._diff(noted.snapshot)).is_same:
                raise Refused(f"somebody has changed it since run {end.run} was archived", guard.workspace)
            return noted.snapshot
        seen = await trio.to_thread.run_sync(look, guard.workspace)
        if end.ended_at and seen.newest > end.ended_at:
            raise Refused(f"somebody has changed it since run {end.run} ended", guard.workspace)
        if (await self._diff(guard.snapshot)).is_same:
            return None
        if not await trio.to_thread.run_sync(is_folder, guard.workspace):
            return ""
        source = guard_archive.source_of(end.agent, guard.workspace)
        reason = f"failsafe, what run {end.run} left"
        snapshot = await guard_archive.keep(self._context, source, reason, self._cause)
        if (await trio.to_thread.run_sync(look, guard.workspace)).digest != seen.digest:
            raise Refused(f"somebody has changed it since run {end.run} ended", guard.workspace)
        left = LeftTree(end.agent, end.run, snapshot)
        await trio.to_thread.run_sync(left_trees.note, self._home, left)
        return snapshot

    async def _diff(self, snapshot: str) -> Diff:
        origin = await self._origins.snapshot(snapshot)
        tree = next(held.tree for held in origin.meta.workspaces if held.workspace == self._guard.workspace)
        return await trio.to_thread.run_sync(origin.diff, tree, self._guard.workspace)

    async def _placement(self) -> Placement:
        guard = self._guard
        origin = await self._origins.snapshot(guard.snapshot)
        found = next((each for each in origin.meta.workspaces if each.workspace == guard.workspace), None)
        if found is None:
            raise NotFound(f"snapshot {guard.snapshot} does not hold {guard.workspace}", "workspace")
        return Placement(
            agent=self._row.id,
            root="",
            workspace=guard.workspace,
            recorded=guard.workspace,
            archived=Archived(guard.snapshot, found),
        )

    async def _plan(self, placement: Placement) -> RestorePlan:
        """The plan of the restore: one workspace, nobody is stopped, the state stays."""
        assert placement.archived is not None
        head = await self._context.call(self._context.store.log.head)
        return RestorePlan(
            to=None,
            source=self._guard.snapshot,
            head=head.seq,
            past=Past(placement.archived.position, 0, [], {}, [], [], []),
            now={self._row.id: self._row},
            away=frozenset(),
            named=self._guard.snapshot,
            placements=[placement],
            fates=[Fate(self._row.id, "stays", False, False)],
        )

    async def _remember(self, placement: Placement) -> None:
        """Tell the archive once more what lies there: the procedure did so while the time stamps were too new."""
        assert placement.archived is not None
        await trio.sleep(SETTLED_S)
        archive = await self._origins.archive()
        tree, workspace = placement.archived.held.tree, placement.workspace
        try:
            await trio.to_thread.run_sync(archive.remember, placement.archived.snapshot, tree, workspace)
        except (MaestroError, OSError) as error:  # the next archive reads it all
            log.info("what went back is not remembered: %s", error)


def _call(context: Context, cause: str) -> Call:
    """The command that a node gives itself for a return: its notes go nowhere."""

    async def send(_: object) -> None:
        return

    call = Call(context, p.Caller(f"worker:{context.node}", "/"), send)
    call.cause, call.patient = cause, True
    return call
