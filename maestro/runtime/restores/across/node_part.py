"""This node's part of one restore over several: verified and staged before the decision, exchanged behind it.

The journal knows which restore the part is of, and the log what is to become of it: so whatever ends this daemon, the
next one goes on (`outcome.end_part`).
"""

from __future__ import annotations

import trio

from maestro.model.coordination.restore_parts import Restore, RestoreOptions, RestorePart
from maestro.model.events import RestorePartStaged, RestorePlacement, SnapshotWorkspace
from maestro.model.restore import Archived
from maestro.runtime.node.context import Call, Context
from maestro.runtime.restores.across.room import check_room
from maestro.runtime.restores.journal import BegunRestore, Journal, UnderWay
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import Past
from maestro.runtime.restores.places import check_places
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.restores.procedure import RestoreProcedure
from maestro.runtime.restores.restore import check, prove
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.procedure import take_in_turn
from maestro.runtime.snapshots.request import SnapshotRequest
from maestro.runtime.snapshots.run_folders import tidying_call
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.exchanges.exchange import Exchange
from maestro.workspaces.folders import is_folder


class NodePart:
    """One part, with the right to restore on this node (journal and exchange), which the caller holds.

    late: it is done behind the decision, where nothing can make the restore fail any more: what cannot be put back is
    left, and told.
    """

    def __init__(
        self, context: Context, row: Restore, options: RestoreOptions, origins: OpenOrigins, late: bool = False
    ) -> None:
        part = row.part(context.node)
        assert part is not None
        self.row = row
        self.skips = options.skip_failed or late
        self.begun = BegunRestore(restore=row.id, cause=row.cause, actor=row.actor, to=row.to, source=row.source)
        self.begun.across, self.begun.before = True, row.before
        self._context = context
        self._options = options
        self._part: RestorePart = part
        self._origins = origins
        self._late = late
        self._procedure: RestoreProcedure | None = None
        self._placements: list[Placement] = []

    async def stage(self, journal: Journal, exchange: Exchange) -> RestorePartStaged:
        """Check, verify and stage the part. Raises Refused, VerificationFailed: then nothing was changed."""
        context = self._context
        call: Call = tidying_call(context)
        call.patient = True
        wanted = self._part.placed if self._late else self._part.placements
        self._placements = [await self._placement(each) for each in wanted]
        planned = await self._plan()
        foreign = tuple(each.workspace for each in wanted if each.foreign)
        wish = RestoreRequest(self.row.source, skip_failed=self.skips, replace_foreign=foreign)
        await check_places(call, wish, planned, self._origins)
        await prove(call, planned, self._origins, self._options.skip_verify or self._late, self.skips)
        if not self._late:
            await check_room(planned, self._origins, whole=True)
        if not self.skips:
            check(planned, skip_failed=False)
        await trio.to_thread.run_sync(journal.write, self.begun)
        self._procedure = RestoreProcedure(call, planned, self._origins, UnderWay(journal, exchange, self.begun))
        self._procedure.skips = self.skips
        self._procedure.reuses = self._late
        if planned.restorable:
            await self._procedure.stage()
        skipped = {each.workspace: each.why_not for each in self._placements if each.why_not}
        damaged = tuple(each.workspace for each in self._placements if each.why_not and each.damaged)
        lost: dict[str, dict[str, str]] = {}
        for row in self._procedure.lost:
            lost.setdefault(str(row["workspace"]), {})[str(row["path"])] = str(row["why"])
        return RestorePartStaged(self.row.id, context.node, skipped, damaged, lost)

    async def keep(self, folders: SnapshotFolders) -> str:
        """Take a snapshot of what lies in the places of a late part, and return its id, "" where nothing does.

        The snapshot that undoes the restore is of before the decision; somebody may have worked there since. The caller
        has the turn. Raises as `procedure.take`.
        """

        def look() -> tuple[Source, ...]:
            there = [each for each in self.begun.targets if is_folder(each.workspace)]
            return tuple(Source(f"replaced/{each.agent}", each.workspace, each.agent) for each in there)

        sources = await trio.to_thread.run_sync(look)
        if not sources:
            return ""
        wanted = SnapshotRequest("restore", agents=(), folders=sources, allow_torn=True, allow_missing=True)
        return (await take_in_turn(tidying_call(self._context), wanted, folders)).row.id

    async def place(self) -> None:
        """Exchange what is staged. Raises Refused: then all is as it was, but for what the journal's targets say."""
        assert self._procedure is not None
        if self.begun.targets:
            await trio.to_thread.run_sync(self._procedure.place)

    async def remember(self) -> None:
        """Tell the archive what lies in the workspaces now, so that the next snapshot need not read it again."""
        assert self._procedure is not None
        await self._procedure.remember()

    @property
    def left(self) -> dict[str, str]:
        """The workspaces that could not be staged behind the decision, with why."""
        return {each.workspace: each.why_not for each in self._placements if each.why_not} if self._late else {}

    async def _placement(self, wanted: RestorePlacement) -> Placement:
        context, name = self._context, wanted.snapshot
        if name.startswith("/"):
            name = (await self._origins.named(name)).name
        held = SnapshotWorkspace(wanted.agent, wanted.recorded, wanted.tree, 0)
        source = "" if wanted.source == context.node else wanted.source
        return Placement(
            agent=wanted.agent,
            root=wanted.root,
            workspace=wanted.workspace,
            recorded=wanted.recorded,
            archived=Archived(name, held, source),
            node=context.node,
        )

    async def _plan(self) -> RestorePlan:
        context, row = self._context, self.row
        agents = {each.id: each for each in await context.rows(context.views.agents)}
        past = Past(row.to or 0, 0, [], {}, [], [], [])
        return RestorePlan(
            to=row.to,
            source=row.source,
            head=0,
            past=past,
            now=agents,
            away=frozenset(),
            here=context.node,
            placements=self._placements,
        )


async def replaced(context: Context, restore: str) -> tuple[Source, ...]:
    """The folders that are no agent's workspace here now, and that this node's part of a restore would replace."""
    row = await context.row(context.views.restore, restore)
    part = row.part(context.node) if row is not None else None
    agents = await context.rows(context.views.agents)
    held = {each.workspace for each in agents if each.node in (None, context.node)}
    places = [each for each in part.placed if each.workspace not in held] if part is not None else []

    def look() -> tuple[Source, ...]:
        there = [each for each in places if is_folder(each.workspace)]
        return tuple(Source(f"replaced/{each.agent}", each.workspace, each.agent) for each in there)

    return await trio.to_thread.run_sync(look)
