"""The restore of one workspace before a step of a workflow runs again: by the procedure of all restores.

It ends with its answer, also where the daemon is killed: from the exchange on that is in the journal. Before the
exchange nothing was done, and the next daemon finds the wish again.
"""

from __future__ import annotations

import trio

from maestro.model.errors import NotFound, Refused
from maestro.model.events import Event, WorkspaceRestoreWanted, WorkspaceReturned
from maestro.model.restore import Archived, Fate
from maestro.runtime.node.context import Context
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.ids import new_id
from maestro.runtime.restores.conclusion import LEASE
from maestro.runtime.restores.crash_recovery import end_begun
from maestro.runtime.restores.journal import BegunRestore, UnderWay
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import Past
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest as Request
from maestro.runtime.restores.procedure import RestoreOptions, RestoreProcedure
from maestro.runtime.restores.rights import in_turn
from maestro.runtime.restores.steps.bystander_runs import bystander
from maestro.runtime.snapshots.step_wishes import call_of, source_of, stands, vacant
from maestro.workspaces.exchanges.places import check_place

FORCE = "keep what is there (--files keep), or lose it with --force"


async def put_back(context: Context, event: Event) -> WorkspaceReturned | None:
    """Put the workspace of a wish back, once no run is on there; its answer, None where it is in the log already.

    Raises Refused where another run has ended there since, or as restores do; NotFound, VerificationFailed for an
    archive that is gone or damaged. Then nothing is changed.
    """
    wish = event.fact
    assert isinstance(wish, WorkspaceRestoreWanted)
    async with vacant(context, event), in_turn(context, LEASE) as right:
        assert right is not None
        journal, exchange = right
        await end_begun(context, journal)
        if await stands(context, event) != "open":
            return None
        with OpenOrigins(context) as origins:
            placement, archived = await _placement(context, wish, origins)
            await _check_alone(context, wish, archived)
            await trio.to_thread.run_sync(check_place, wish.workspace)
            origin = await origins.snapshot(wish.snapshot)
            diff = await trio.to_thread.run_sync(origin.diff, archived.held.tree, wish.workspace)
            changes = [*diff.added, *diff.changed, *diff.deleted]
            returned = WorkspaceReturned(wish.run, wish.instance, wish.snapshot)
            if not changes:
                return returned
            count = sum(change.kind != "d" for change in changes)
            call = call_of(context, event)
            begun = BegunRestore(restore=new_id(), cause=call.cause, actor=call.caller.actor, wish=event.seq)
            begun.returned = WorkspaceReturned(wish.run, wish.instance, wish.snapshot, changed=count)

            async def confirm() -> None:
                if await stands(context, event) != "open":
                    raise Refused("the run has ended meanwhile")

            planned = await _planned(context, wish, placement, archived)
            how = RestoreOptions(f"before {wish.instance} of run {wish.run} went back", skip_verify=True)
            under_way = UnderWay(journal, exchange, begun)
            procedure = RestoreProcedure(call, planned, origins, under_way, confirm)
            await procedure.run(Request(wish.snapshot, workspace=wish.workspace), how)
            return None


async def _placement(
    context: Context, wish: WorkspaceRestoreWanted, origins: OpenOrigins
) -> tuple[Placement, Archived]:
    source = await source_of(context, wish)
    origin = await origins.snapshot(wish.snapshot)
    held = next((each for each in origin.meta.workspaces if each.workspace == wish.workspace), None)
    if held is None:
        raise NotFound(f"snapshot {wish.snapshot} does not hold {wish.workspace}", "workspace")
    archived = Archived(wish.snapshot, held)
    placement = Placement(
        agent=source.agent, root="", workspace=wish.workspace, recorded=wish.workspace, archived=archived
    )
    return placement, archived


async def _check_alone(context: Context, wish: WorkspaceRestoreWanted, archived: Archived) -> None:
    """Check that no other run has ended there since the archive. The instance that had it made has held it since."""
    row = await context.row(context.views.snapshot, wish.snapshot)
    if wish.force or (row is not None and row.run == wish.run):
        return
    if other := await bystander(context, wish, archived.position):
        what = f"run {other} has ended in {wish.workspace} since it was archived"
        raise Refused(what, "workspace", FORCE)


async def _planned(
    context: Context, wish: WorkspaceRestoreWanted, placement: Placement, archived: Archived
) -> RestorePlan:
    """The plan of the restore: one workspace, nobody is stopped, the state stays."""
    agents = await context.rows(context.views.agents) if wish.agent else []
    now = {row.id: row for row in agents if row.id == wish.agent}
    head = await context.call(context.store.log.head)
    past = Past(archived.position, 0, [], {}, [], [], [])
    return RestorePlan(
        to=None,
        source=wish.snapshot,
        head=head.seq,
        past=past,
        now=now,
        away=frozenset(),
        named=wish.snapshot,
        placements=[placement],
        fates=[Fate(name, "stays", False, False) for name in now],
    )


def error_of(error: Exception) -> str:
    """What a wish is answered where it cannot be fulfilled, in one line."""
    known = user_error(error)
    return known.line() if known is not None else f"a defect: {error!r}"
