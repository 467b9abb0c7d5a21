"""Carrying out a restore: take the rights, plan, verify the snapshots, and run the procedure.

Into an empty store the log is loaded from the snapshot first, with its ids, once everything has been checked that can
be. That is done by a command without a daemon, as a daemon knows the log that it started with; and no daemon starts
before the restore is done, so that nothing that was queued in the log begins. If the restore fails, the log is erased
again.
"""

from __future__ import annotations

import msgspec
import trio

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.events import LogForked, NewEvent
from maestro.runtime.node.context import APPEND_S_MAX, Call, Context
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.known_head import LINEAGE, KnownHead, erased
from maestro.runtime.node.patience import patiently
from maestro.runtime.restores import log_loader
from maestro.runtime.restores.across.room import check_room
from maestro.runtime.restores.conclusion import LEASE, unload
from maestro.runtime.restores.crash_recovery import end_begun, no_daemon
from maestro.runtime.restores.journal import BegunRestore, Journal, LoadedLog, UnderWay
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import look_into
from maestro.runtime.restores.plan import RestorePlan, RestoreRequest
from maestro.runtime.restores.planner import plan
from maestro.runtime.restores.procedure import ANOTHER, RestoreOptions, RestoreProcedure
from maestro.runtime.restores.rights import leased, restoring
from maestro.runtime.scheduler.merged_appends import LEASE as SCHEDULER
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.shared.identity import name_behind_load
from maestro.runtime.snapshots.shared.upload import check_reach
from maestro.workspaces.exchanges.exchange import Exchange
from replayers import checkpoint


async def carry_out(call: Call, wish: RestoreRequest, how: RestoreOptions) -> Row:
    """Restore; returns the answer. Raises as `plan`; VerificationFailed; Refused where another restore is under way, or
    a workspace cannot be put back. Then nothing is changed.
    """
    context = call.context
    journal = Journal(context.settings.home)
    async with restoring(journal) as exchange:
        await end_begun(context, journal)
        call.patient = True
        begun = BegunRestore(restore=new_id(), cause=call.cause, actor=call.caller.actor)
        with OpenOrigins(context) as origins:
            return await _perform(call, wish, how, origins, UnderWay(journal, exchange, begun))


async def _perform(
    call: Call, wish: RestoreRequest, how: RestoreOptions, origins: OpenOrigins, under_way: UnderWay
) -> Row:
    loads = under_way.begun.loads is not None
    leases = (LEASE, SCHEDULER) if loads else (LEASE,)  # no scheduler releases tasks of a loaded log
    async with leased(call.context, leases):
        planned = await plan(call, wish, origins)
        await prove(call, planned, origins, how.skip_verify or loads, wish.skip_failed)
        await check_room(planned, origins, whole=False)
        check(planned, wish.skip_failed)
        return await RestoreProcedure(call, planned, origins, under_way).run(wish, how)


async def prove(call: Call, planned: RestorePlan, origins: OpenOrigins, skip: bool, go_on: bool) -> None:
    """Read and check every byte of the snapshot that the user named, and of those that are restored from.

    skip: leave out what is checked as it is written. go_on: note what is damaged in the snapshot store and go on,
    rather than raise. Raises VerificationFailed.
    """
    read = [(archived.snapshot, archived.node) for _, archived in planned.restorable]
    named = [(planned.named, "")] if planned.named else []
    if skip:  # but a file from which nothing is written would not be read at all
        names = [each for each in named if each not in read and await origins.is_file(each[0])]
    else:
        names = list(dict.fromkeys([*named, *read]))
    for name, node in names:
        try:
            origin = await origins.snapshot(name, node)
        except MaestroError as error:
            is_damaged = isinstance(error, VerificationFailed)
            if not go_on or not (is_damaged or node):
                raise
            for placement, archived in planned.restorable:
                if (archived.snapshot, archived.node) == (name, node):
                    placement.why_not, placement.damaged = error.line(), is_damaged
            continue
        try:
            report = ProgressReport(call.note, f"verifying {origin.path or name}")
            await trio.to_thread.run_sync(origin.verify, report.written)
        except VerificationFailed as error:
            if not go_on or origin.path:  # a file from elsewhere that is damaged is trusted in nothing
                raise
            await call.note(f"{error.where}: {error.what}" if error.where else error.what, "warn")


def check(planned: RestorePlan, skip_failed: bool) -> None:
    """Check that everything that is to be put back can be, as far as that is known by now. Raises Refused."""
    failing = planned.failing
    if failing and not skip_failed:
        which = "; ".join(f"{each.agent} ({each.workspace}): {each.why_not}" for each in failing)
        raise Refused(
            f"not every workspace can be put back: {which}",
            mend=planned.mend,
        )
    if failing and planned.to is None:
        what = f"{failing[0].workspace} cannot be put back: {failing[0].why_not}"
        raise VerificationFailed(what, mend=ANOTHER) if failing[0].damaged else Refused(what)


async def load_and_carry_out(call: Call, wish: RestoreRequest, how: RestoreOptions) -> tuple[str, Row | None]:
    """Where the log is empty, load it from the snapshot and restore; else do nothing.

    Returns `there` where it is not empty, `done` with the answer of the restore, or `again` where this daemon had to
    end first. Raises as `carry_out`, and Refused while other nodes use the log: then the log is empty as before.
    """
    context = call.context
    if not await log_loader.is_empty(context):
        return "there", None
    await log_loader.check_alone(context)
    journal = Journal(context.settings.home)
    if context.daemon is not None:
        async with restoring(journal):
            with OpenOrigins(context) as origins:  # the daemon does not end for a restore that would be refused
                await _checked(call, wish, origins, journal)
        call.after_answer(context.daemon.stop)
        return "again", None
    with no_daemon(context.settings.home) as is_free:
        if not is_free:
            return "again", None
        async with restoring(journal) as exchange:
            await end_begun(context, journal)
            if not await log_loader.is_empty(context):
                return "there", None
            with OpenOrigins(context) as origins:
                return "done", await _load(call, wish, how, origins, (journal, exchange))


async def _checked(call: Call, wish: RestoreRequest, origins: OpenOrigins, journal: Journal) -> RestorePlan:
    """The plan of the restore, from the log in the snapshot. Raises whatever would refuse the restore."""
    assert wish.source is not None
    async with log_loader.held_log(await origins.named(wish.source), journal, wish.skip_failed) as folder:
        planned = await plan(call, wish, origins, await trio.to_thread.run_sync(look_into, folder))
    check(planned, wish.skip_failed)
    return planned


async def _load(
    call: Call, wish: RestoreRequest, how: RestoreOptions, origins: OpenOrigins, right: tuple[Journal, Exchange]
) -> Row:
    context, journal = call.context, right[0]
    assert wish.source is not None
    origin = await origins.named(wish.source)
    async with log_loader.held_log(origin, journal, wish.skip_failed) as folder:
        planned = await plan(call, wish, origins, await trio.to_thread.run_sync(look_into, folder))
        await prove(call, planned, origins, how.skip_verify, wish.skip_failed)
        check(planned, wish.skip_failed)
        await check_reach(context)  # what is there is kept before anything is replaced, which would fail the restore
        await call.note(f"verifying the log of {origin.path or origin.name}", "progress")
        found = await trio.to_thread.run_sync(checkpoint.verify, folder)
        call.patient = True
        begun = BegunRestore(restore=new_id(), cause=call.cause, actor=call.caller.actor, source=planned.source)
        begun.to, begun.loads = found.position, LoadedLog(found.position, found.chain)
        await trio.to_thread.run_sync(journal.write, begun)
        with patiently(APPEND_S_MAX):  # a log that is loaded by half would be erased for an outage
            try:
                if not await log_loader.is_empty(context):
                    raise Refused("the log is not empty any more", mend="try again")
                gone = await _erase(context)
                await trio.to_thread.run_sync(checkpoint.load, context.store, folder)
                await name_behind_load(context, begun.actor, begun.cause)
                loaded = msgspec.structs.replace(wish, loaded=True)
                row = await _perform(call, loaded, how, origins, UnderWay(*right, begun))
            except BaseException:
                with trio.CancelScope(shield=True):
                    await _unload(call, journal)
                raise
            if gone is not None:
                await context.append([NewEvent(LINEAGE, gone)], call.caller.actor, call.cause)
    await call.note(f"loaded the log up to position {found.position}")
    return row


async def _erase(context: Context) -> LogForked | None:
    """Erase the log that counts as empty; what is to be said of that behind the one that takes its place, where other
    nodes may know it, or the one before it: no version of a subject from before a restore is known behind it.
    """
    others = [node for node in await context.rows(context.views.nodes) if node.id != context.node]
    gone: LogForked | None = None
    told = await context.call(context.store.log.version, LINEAGE)
    if others or told:
        gone = await context.call(erased, context.store, "loaded the log of a snapshot")
    await context.call(context.store.erase)
    KnownHead(context.settings).forget()
    return gone


async def _unload(call: Call, journal: Journal) -> None:
    """Erase the log that was loaded for a restore which failed before it began."""
    begun = await trio.to_thread.run_sync(journal.read)
    if begun is None or begun.loads is None or begun.broken_off.is_done:
        return
    if await unload(call.context, begun.loads, begun.cause):
        await trio.to_thread.run_sync(journal.end)
