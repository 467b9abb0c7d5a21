"""The leader's part of restores over several nodes: it looks, and has `restoration` say what is appended next.

While one is on, the lease of restores is held for all of its nodes, so that no node begins one of its own.
"""

from __future__ import annotations

from collections.abc import Collection

import trio

from maestro.model.coordination import restoration
from maestro.model.coordination.restoration import Before, Seen, Then
from maestro.model.coordination.restore_parts import OPEN, UNDECIDED, Restore, RestoreOptions, superseded
from maestro.model.coordination.turn import Work, may_begin
from maestro.model.coordination.world import Move, World
from maestro.model.events import NewEvent, RestoreDone
from maestro.model.restore import OpenWork
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.restores.across import outcome
from maestro.runtime.restores.conclusion import LEASE
from maestro.runtime.restores.forks.schedules import kept_off
from maestro.runtime.restores.past import look_back
from maestro.runtime.restores.rights import LEASE_TTL_MS
from maestro.runtime.snapshots.procedure import new_name

HOLDER = "across"
"""Who holds the lease of restores for one over several nodes, whichever node leads."""
LOOK_S = 5.0
"""How often to look while one is on: the lease is renewed with that."""
STOPPING_S = 0.25
"""How often to look whether the runs of the agents have ended."""


class RestoreCourse:
    """The course of all restores over several nodes, as far as the leader appends it."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self._context = context
        self._follower = follower
        self._rows: list[Restore] = []
        self._holds = False
        self._stopping: dict[str, float] = {}

    async def works(self, up: Collection[str]) -> list[Work]:
        """The restores that are not over, as works that wait for each other. up: the nodes that are.

        One that is decided is over when all nodes that are up have exchanged their parts.
        """
        context = self._context
        self._rows = await context.rows(context.views.restores, "open")
        cut = await outcome.last_cut(context) if any(row.decided for row in self._rows) else 0
        works = []
        for row in self._rows:
            is_waited_for = any(part.node in up for part in row.pending) and not superseded(row, cut)
            if row.state in UNDECIDED or is_waited_for:
                works.append(Work(row.position, "restore", row.id, row.state != "asked"))
        return works

    async def moves(self, world: World) -> list[Move]:
        """What is to be appended now."""
        moves = []
        for row in [row for row in self._rows if row.state in UNDECIDED]:
            options = await outcome.options(self._context, row)
            seen = await self._seen(row, world)
            if restoration.is_due(row, options, seen):
                moves.append(await self._outcome(row, options, seen))
            elif events := restoration.decide_next(row, options, seen):
                moves.append(Move(tuple(events), row.cause, row.actor))
        if self._holds and not any(row.state in OPEN for row in self._rows) and not moves:
            self._holds = False
            await self._context.call(self._context.store.work.lease_drop, LEASE, HOLDER)
        return moves

    @property
    def look_s(self) -> float | None:
        """In how many seconds to look again though nothing is heard; None for no need."""
        undecided = [row for row in self._rows if row.state in UNDECIDED]
        if any(row.state == "started" for row in undecided):
            return STOPPING_S
        return LOOK_S if undecided or self._holds else None

    async def _seen(self, row: Restore, world: World) -> Seen:
        context = self._context
        work = next((each for each in world.works if each.id == row.id), None)
        busy = row.state == "asked" and not (work is not None and may_begin(work, world.works))
        if not busy:
            self._holds = await context.call(context.store.work.lease_take, LEASE, HOLDER, LEASE_TTL_MS)
            busy = not self._holds
        agents = {each.id: each for each in await context.rows(context.views.agents)}
        kept = Before()
        if row.before:
            before = await context.row(context.views.snapshot, row.before)
            if before is not None:
                kept = Before(before.state, frozenset(part.node for part in before.parts), before.why)
        return Seen(
            now=world.now,
            floor=await context.floor(),
            up={node.id for node in world.nodes.values() if node.status == "up"},
            agents=agents,
            whys=await outcome.whys(context, agents.values()),
            busy=busy,
            running=self._running(row, world),
            stopping_ms=self._stopping_ms(row),
            before=kept,
            name=new_name(),
        )

    def _stopping_ms(self, row: Restore) -> int:
        """How long this daemon has seen the agents being stopped."""
        if row.state != "started":
            return 0
        since = self._stopping.get(row.id, trio.current_time())
        self._stopping = {row.id: since}
        return int((trio.current_time() - since) * 1000)

    def _running(self, row: Restore, world: World) -> list[str]:
        """The agents whose runs a node that is up has still to end.

        What agents that are always there run stands still meanwhile, and ends with the restore of all.
        """
        plan = self._follower.plan
        names = {name for part in row.parts for name in part.agents}
        runs = [run for run in plan.crew.live.values() if run.agent in plan.agents and {run.agent, run.owner} & names]
        return sorted({run.agent for run in runs if (node := world.nodes.get(run.node or "")) and node.status == "up"})

    async def _outcome(self, row: Restore, options: RestoreOptions, seen: Seen) -> Move:
        context, then, off = self._context, None, list[NewEvent]()
        if row.to is not None:
            past = await trio.to_thread.run_sync(look_back, context.store, row.to)
            now = OpenWork(
                await context.rows(context.views.open_tasks), await context.rows(context.views.workflow_runs, "open")
            )
            ours = {each.id for each in await context.rows(context.views.restores)}
            then = Then(past.at, past.keys, past.agents, OpenWork(past.tasks, past.runs), now, ours)
            off = await trio.to_thread.run_sync(kept_off, context.store, row.to)
        events = restoration.decide_outcome(row, options, seen, then)
        floors = any(isinstance(event.fact, RestoreDone) for event in events)
        return Move((*events, *(off if floors else ())), row.cause, row.actor, floors)
