"""The coordinator: the daemon that leads appends the next step of what several nodes do together.

`model/coordination/` decides; nothing is remembered but in the log, so that the next leader goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from maestro.model import events as e
from maestro.model.coordination.snapshot_parts import SNAPSHOTS
from maestro.model.coordination.turn import Work
from maestro.model.coordination.world import Decider, Move, World
from maestro.runtime.node.context import APPEND_S_MAX, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.duty import IDLE_S_MAX, Duty
from maestro.runtime.scheduler.lead import Lead
from maestro.store.contract import Append, Committed

REFUSED_S = 0.2
NEWS = (
    *(e.SnapshotAsked, e.SnapshotOpened, e.SnapshotPartReady, e.SnapshotStarted, e.SnapshotPartTaken),
    *(e.SnapshotPartFailed, e.SnapshotTaken, e.SnapshotFailed),
    *(e.RestoreAsked, e.RestoreOpened, e.RestorePartStaged, e.RestorePartFailed, e.RestorePartPlaced),
    *(e.RestoreStarted, e.RestoreDone, e.RestorePlaced, e.RestoreFailed),
    *(e.NodeJoined, e.NodeLeft, e.NodeLost),
)
"""Facts on which something new may be decided."""


class Course(Protocol):
    """A kind of work that is decided by more than a world holds: restores over several nodes."""

    async def works(self, up: Collection[str]) -> list[Work]:
        """Those that are not over. up: the nodes that are."""

    async def moves(self, world: World) -> list[Move]:
        """What is to be appended now of those that `works` has given last."""

    @property
    def look_s(self) -> float | None:
        """In how many seconds to look again though nothing is heard; None for no need."""


class Coordinator:
    """The coordinator of one daemon, which acts while it leads. deciders: one for each kind of work, but for restores,
    which have a course.
    """

    def __init__(
        self,
        context: Context,
        follower: Follower,
        lead: Lead,
        course: Course,
        deciders: Sequence[Decider] = (SNAPSHOTS,),
    ) -> None:
        self._context = context
        self._follower = follower
        self._lead = lead
        self._course = course
        self._deciders = deciders
        self._knows_all = False
        self._duty = Duty("snapshots over several nodes", follower, lead, NEWS, self._step)
        lead.begins(self._take_over)

    async def run(self) -> None:
        """Append the next steps, for ever; an outage of the store is waited out."""
        await self._duty.run()

    def _take_over(self) -> None:
        self._knows_all = False

    async def _step(self) -> float:
        """Append what is decided now; in how many seconds to look again though nothing is heard."""
        gateway, follower = self._context.gateway, self._follower
        if not self._knows_all:  # all that the leader before has appended is in the plan first
            head = await gateway.ask(gateway.store.log.head)
            await follower.changed(head.seq - 1)
            self._knows_all = True
        up = [node.id for node in follower.plan.nodes.values() if node.status == "up"]
        world = self._world(await self._course.works(up))
        moves = [move for decider in self._deciders for move in decider.decide(world)]
        moves += [] if moves else await self._course.moves(world)
        appended = 0
        for move in moves:
            fence = self._lead.fence
            actor = move.actor or fence.actor
            append = Append(move.events, actor, move.cause, (), fence, floors=move.floors)
            result = await gateway.append(append, APPEND_S_MAX)
            if isinstance(result, Committed):
                appended = result.last
            else:  # another leads, or a node was faster
                log.debug("%s: %s", move.events[0].subject, result)
        if appended:
            await follower.changed(appended - 1)
            return 0.0
        if moves:
            return REFUSED_S
        dues = [due for decider in self._deciders if (due := decider.due(world)) is not None]
        waits = [max(0.001, (due - world.now) / 1000) for due in dues]
        return min([IDLE_S_MAX, *waits, *([] if self._course.look_s is None else [self._course.look_s])])

    def _world(self, works: Sequence[Work]) -> World:
        plan = self._follower.plan
        return World(
            now=self._lead.now(),
            floor=plan.floor,
            nodes=plan.nodes,
            agents=plan.agents,
            snapshots=plan.works.current,
            works=[*plan.works.works, *works],
        )
