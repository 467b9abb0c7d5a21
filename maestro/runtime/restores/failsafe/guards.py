"""The guards of workspaces on this node: put before runs, and ended with them, also those that others have left.

The worker asks for both (`Failsafe` of `node/handover.py`). What an earlier daemon has left, and what somebody else has
ended, is settled in the background; until then the plan lets nobody work there.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from maestro.model.agent import Agent, Guard
from maestro.model.definition import AgentDefinition
from maestro.model.errors import MaestroError, StoreAway, Unknown
from maestro.model.events import (
    AgentAssigned,
    Event,
    FailsafeKept,
    FailsafeReturned,
    GuardDropped,
    RestoreDone,
    RunEnded,
    WorkspaceGuarded,
)
from maestro.model.monitoring.failsafe import decide_dropped, decide_guard, decide_kept, goes_back, is_on
from maestro.model.restore import STOP_REASON
from maestro.model.task import Run
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.follower import Follower
from maestro.runtime.restores.failsafe.workspace_return import BadEnd, put_back
from maestro.runtime.snapshots import guard_archive
from maestro.runtime.worker import run_recovery
from maestro.runtime.worker.run_end import dead_at
from maestro.workspaces.folders import recorded

LOOK_EVERY_S = 5.0
AGAIN_S = 0.5
SETTLED_S = 0.06
"""How long after a run its workspace is archived for the next one: time stamps that are newer prove nothing."""


class Guards:
    """The guards of one node: `Failsafe` of `node/handover.py`. left: runs of an earlier daemon, which `run` ends."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self.left: Sequence[run_recovery.LeftRun] = ()
        self._context = context
        self._follower = follower
        self._open: dict[str, str] = {}
        self._good: list[str] = []
        self._news = trio.Event()
        self._locks: dict[str, trio.Lock] = {}
        follower.listen(self._hear)

    def wants(self, owner: Agent) -> bool:
        """See `Failsafe.wants`."""
        return is_on(AgentDefinition(owner.definition).failsafe, self._context.settings.failsafe_mode)

    # ---- what the worker asks for ----

    async def guard(self, owner: Agent, task: str, run: str) -> None:
        """See `Failsafe.guard`."""
        context, workspace = self._context, owner.workspace
        assert workspace is not None
        cause = self._cause_of(run)
        while True:
            try:
                snapshot = await guard_archive.keep_before_run(context, owner.id, workspace, cause)
                fact = WorkspaceGuarded(owner.id, run, task, workspace, snapshot, context.node)
                await guard_archive.tell(context, decide_guard, fact, f"worker:{context.node}", cause)
            except Exception as error:
                if not _is_away(error) or context.gateway.closing:
                    raise
                seldom.warn("archiving a workspace before a run", str(error))  # it does not end for an outage
                await trio.sleep(AGAIN_S)
            else:
                return

    async def settle(self, owner: str, fact: RunEnded, ended_at: int) -> bool:
        """See `Failsafe.settle`."""
        if not goes_back(fact.outcome, fact.restart):
            return False
        return await self._settle(BadEnd(owner, fact.run, fact.outcome, ended_at, self._cause_of(fact.run)))

    def _cause_of(self, run: str) -> str:
        """What events about a run name as their cause: the position of its release, as its own events do."""
        found = self._follower.plan.run(run)
        return str(found[1].token) if found is not None else run

    async def _settle(self, end: BadEnd) -> bool:
        def gives_up() -> bool:
            row = self._follower.plan.agents.get(end.agent)
            return row is not None and row.stopped and row.reason.startswith(STOP_REASON)

        async with self._locks.setdefault(end.agent, trio.Lock()):
            while True:
                try:
                    return await put_back(self._context, end, gives_up)
                except Exception as error:  # whatever it is, the workspace stays, and that is told
                    if not _is_away(error):
                        return await self._keep(end, error)
                    if self._context.gateway.closing:
                        raise
                    seldom.warn("having a workspace go back", str(error))
                    await trio.sleep(AGAIN_S)

    async def _keep(self, end: BadEnd, error: Exception) -> bool:
        """Record that a workspace stays as the run left it, and why."""
        known = user_error(error)
        why = known.line() if known is not None else f"a defect: {error!r}"
        log.warning("failsafe: run %s, %s", end.run, why, exc_info=None if known is not None else error)

        async def tell() -> None:
            row = await self._context.row(self._context.views.agent, end.agent)
            guard = row.guard if row is not None else None
            if guard is not None:
                fact = FailsafeKept(end.agent, end.run, guard.task, guard.workspace, guard.snapshot, why)
                await guard_archive.tell(self._context, decide_kept, fact, f"worker:{self._context.node}", end.cause)

        await self._context.insist(tell)
        return True

    # ---- what is left open ----

    def _hear(self, event: Event) -> None:
        match event.fact:
            case WorkspaceGuarded(agent=agent, run=run, node=node) if node == self._context.node:
                self._open[agent] = run
            case FailsafeReturned(agent=agent) | FailsafeKept(agent=agent):
                self._open.pop(agent, None)
            case GuardDropped(agent=agent, good=good):
                if self._open.pop(agent, None) is not None and good:
                    self._good.append(agent)
                    self._news.set()
            case RunEnded() | AgentAssigned() if self._open:
                self._news.set()
            case RestoreDone():
                self._find()
            case _:
                pass

    def _find(self) -> None:
        """Take in the guards of this node that the plan has."""
        agents = self._follower.plan.agents.values()
        guards = {agent.id: agent.guard for agent in agents if agent.guard is not None}
        self._open = {name: guard.run for name, guard in guards.items() if guard.node == self._context.node}
        self._news.set()

    async def run(self) -> None:
        """End what an earlier daemon has left, and settle what others have ended, for ever."""
        self._find()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_left)
            while True:
                self._news = trio.Event()
                good, self._good = self._good, []
                try:
                    for name in list(self._open):
                        await self._look_at(name)
                    for name in dict.fromkeys(good):
                        await self._prepare_next(name)
                except MaestroError as error:
                    seldom.warn("guards of workspaces", error.line())
                with trio.move_on_after(LOOK_EVERY_S if self._open else float("inf")):
                    await self._news.wait()

    async def _look_at(self, name: str) -> None:
        """Settle a guard whose run has ended elsewhere."""
        plan = self._follower.plan
        row = plan.agents.get(name)
        guard = row.guard if row is not None else None
        if guard is None or guard.node != self._context.node:
            self._open.pop(name, None)
            return
        if guard.run in plan.crew.live:
            return
        run = await self._run_of(guard)
        if run is not None and run.status == "ended" and goes_back(run.outcome, run.restart):
            ended_at = await trio.to_thread.run_sync(_ended_at, run)
            if await self._settle(BadEnd(name, run.id, run.outcome, ended_at, str(run.token))):
                return
        fact = GuardDropped(name, guard.run, run is not None and run.outcome == "ok")
        actor = f"worker:{self._context.node}"
        await guard_archive.tell(
            self._context, decide_dropped, fact, actor, str(run.token) if run is not None else guard.run
        )

    async def _run_of(self, guard: Guard) -> Run | None:
        row = await self._context.row(self._context.views.task, guard.task)
        runs = [run for slot in row.slots for run in slot.runs] if row is not None else []
        return next((run for run in runs if run.id == guard.run), None)

    async def _end_left(self) -> None:
        """End the runs of an earlier daemon that have ended badly, once their workspaces are as they were."""
        left, self.left = self.left, ()
        async with Evaluator() as evaluator:
            for one in left:
                try:
                    await self._end_one(evaluator, one)
                except StoreAway:
                    return  # the daemon ends
                except Exception as error:  # noqa: BLE001 - the next start tries it again
                    log.error("run %s of the earlier daemon has not ended", one.run, exc_info=error)

    async def _end_one(self, evaluator: Evaluator, one: run_recovery.LeftRun) -> None:
        found = self._follower.plan.run(one.run)
        if found is None:
            return
        judged = await run_recovery.judged(self._context, self._follower, evaluator, found)
        is_settled = await self.settle(one.owner, judged.fact, one.ended_at)
        told = await run_recovery.returned(self._context, judged, one.owner)
        is_settled = is_settled or told is not judged  # or by the recovery of restores, at the start
        await run_recovery.end(self._context, told, "" if is_settled else one.owner)

    # ---- for the next run ----

    async def _prepare_next(self, name: str) -> None:
        """Archive what a good run left, so that the next one only has to look whether that is still there."""
        await trio.sleep(SETTLED_S)
        row = self._follower.plan.agents.get(name)
        if row is None or row.run or row.guard is not None or row.workspace is None or not self.wants(row):
            return
        try:
            await guard_archive.keep_before_run(self._context, name, row.workspace, row.last_task)
        except (MaestroError, OSError) as error:  # the next run has it archived, and says what is wrong
            log.info("the workspace of agent %s is not archived ahead: %s", name, error)


def _ended_at(run: Run) -> int:
    """When the last process of a run was dead, by the records of its warden; 0 where there is none."""
    try:
        folder = recorded(run.folder)
    except MaestroError:
        return 0
    return dead_at(folder)


def _is_away(error: BaseException) -> bool:
    """Whether the store could not be reached, or has not said what became of an append: it is tried again."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_away(part) for part in error.exceptions)
    return isinstance(error, StoreAway | Unknown)
