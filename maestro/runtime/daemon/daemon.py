"""The daemon of a node: follower, scheduler, worker, health and the socket, under one nursery.

One a MAESTRO_HOME, held by a lock. It ends by `shutdown`, a signal, or an error that makes going on unsafe; it
starts anew, in place, when a client of another build asks for it and the last run has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from dataclasses import dataclass

import trio

from maestro.config import Settings, open_home
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, StoreUnsafe
from maestro.runtime.daemon.archive_copies import keep_copied
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.daemon.departure import end_runs, listen_signals
from maestro.runtime.daemon.housekeeping import tidy
from maestro.runtime.daemon.log_sealer import keep_sealed
from maestro.runtime.daemon.log_unloader import unload_begun
from maestro.runtime.daemon.residence import Residence
from maestro.runtime.daemon.service_notices import ServiceNotices
from maestro.runtime.daemon.start_report import StartReport
from maestro.runtime.daemon.store_guard import watch_disk
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.monitor.alert_watch import AlertWatch
from maestro.runtime.monitor.firings import Firings
from maestro.runtime.monitor.heartbeat import Heartbeat
from maestro.runtime.monitor.timetable import Timetable
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_lock import DaemonLock
from maestro.runtime.node.daemon_log import log, seldom, start_logging
from maestro.runtime.node.failures import placed, user_error
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.node_daemon import NodeDaemon
from maestro.runtime.restores.across.course import RestoreCourse
from maestro.runtime.restores.across.node_part import replaced
from maestro.runtime.restores.across.restore_parts import RestoreParts
from maestro.runtime.restores.crash_recovery import keep_settled, settle
from maestro.runtime.restores.failsafe.guards import Guards
from maestro.runtime.restores.steps.wishes import WorkspaceWishes
from maestro.runtime.scheduler.admission import Admission
from maestro.runtime.scheduler.lead import Lead
from maestro.runtime.scheduler.membership import Membership
from maestro.runtime.scheduler.merged_appends import MergedAppends
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.server.forwarded_commands import ForwardedCommands
from maestro.runtime.server.sockets import listen_admin, sweep_run_sockets
from maestro.runtime.snapshots import deletion, retention
from maestro.runtime.snapshots.across.coordinator import Coordinator
from maestro.runtime.snapshots.across.snapshot_parts import SnapshotParts
from maestro.runtime.snapshots.shared.identity import reach_of
from maestro.runtime.worker import janitor
from maestro.runtime.worker.launcher_client import LauncherClient
from maestro.runtime.worker.run_recovery import recover
from maestro.runtime.worker.worker import Worker
from maestro.store.embedded import embedded_server
from projections.projector import Projector

WARM_EVERY_S = 0.25
WARM_ELSEWHERE_S = 2.0
"""As WARM_EVERY_S, on nodes that do not lead: all of them would fold the same events, and one would save them."""
WARM_IDLE_S = 5.0
COLLECT_EVERY_OBJECTS = 5000
LARGE_BYTES = 1024 * 1024
M_MMAP_THRESHOLD = -3  # of <malloc.h>


@dataclass(frozen=True)
class Parts:
    """The parts of one daemon, put together and not running yet. daemon: what commands see of it."""

    context: Context
    residence: Residence
    clock: Clock
    follower: Follower
    launcher: LauncherClient
    membership: Membership
    scheduler: Scheduler
    worker: Worker
    wishes: WorkspaceWishes
    forwarded: ForwardedCommands
    snapshot_parts: SnapshotParts
    restore_parts: RestoreParts
    guards: Guards
    daemon: NodeDaemon


def _put_together(context: Context, residence: Residence, clock: Clock) -> Parts:
    incarnation = new_id()
    follower = Follower(context.gateway, context.views, context.settings.agent_timeout_s)
    launcher = LauncherClient(context.settings.home)
    membership = Membership(context, follower, incarnation)
    merged = MergedAppends(follower, membership.holder)
    guards = Guards(context, follower)
    worker = Worker(context, follower, launcher, merged, guards)
    scheduler = Scheduler(context, follower, clock, merged, worker)
    daemon = context.daemon = NodeDaemon(follower, worker, scheduler)
    return Parts(
        context=context,
        residence=residence,
        clock=clock,
        follower=follower,
        launcher=launcher,
        membership=membership,
        scheduler=scheduler,
        worker=worker,
        wishes=WorkspaceWishes(context, follower),
        forwarded=ForwardedCommands(context, follower, incarnation),
        snapshot_parts=SnapshotParts(context, follower, incarnation, replaced),
        restore_parts=RestoreParts(context, follower),
        guards=guards,
        daemon=daemon,
    )


def main(settings: Settings) -> int:
    """Run this node's daemon in the foreground; its exit code."""
    report, manager = StartReport(), ServiceNotices(os.environ)
    start_logging(settings.log_level)
    try:
        HANDLERS.load()
        _keep_small()
        lock = DaemonLock.take(open_home(settings))
        lock.say("starting")
        residence = Residence(settings.home, lock, report, manager)
        private_folder(settings.home / "locks", "MAESTRO_HOME")
        start_anew = _reside(settings, residence)
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever it is, it is told in one line
        line, code = _ended(error, settings)
        report.fail(line)
        manager.tell(f"STATUS={line}")
        return code
    if start_anew and not residence.signalled:
        environment = {**os.environ, **lock.hand_on(), **manager.hand_on()}
        os.execve(sys.executable, [sys.executable, "-m", "maestro", "worker"], environment)
    return 0


def _ended(error: BaseException, settings: Settings) -> tuple[str, int]:
    """Say in its log why the daemon ends; that line, and its exit code."""
    known = user_error(error)
    if known is None:
        log.error("the daemon ends by a defect", exc_info=error)
        return f"it ends by a defect: {error!r}", 1
    line = placed(known, (settings.home, settings.workspace_root)).line()
    log.error(line)
    return line, known.exit_code


def _reside(settings: Settings, residence: Residence) -> bool:
    """Run the daemon to its end; whether another is to follow at once. Raises Refused where the home was lost."""
    try:
        return trio.run(_main, settings, residence)
    except BaseException:
        if not residence.stands:  # whatever else went wrong then
            raise residence.error() from None
        raise
    finally:
        if not residence.stands:
            residence.end_store()


def _keep_small() -> None:
    """Collect garbage, but not what is loaded by now, and give the memory of large messages back to the system.

    A command puts the collector off to start fast; the daemon lives long.
    """
    gc.set_threshold(COLLECT_EVERY_OBJECTS)
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


async def _main(settings: Settings, residence: Residence) -> bool:
    stop_store = False
    await unload_begun(settings)
    try:
        async with open_context(settings) as context:
            try:
                return await _serve(context, residence)
            finally:
                stop_store = context.stop_store
    finally:
        if stop_store:  # also where the log is broken, which ends everything else
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(embedded_server.stop, settings.home)


async def _serve(context: Context, residence: Residence) -> bool:
    settings = context.settings
    context.may_listen = lambda: residence.may_listen
    if context.revive is not None:
        context.revive = residence.guarded(context.revive)
    clock = Clock()
    await context.gateway.call(clock.measure, context.store.now)
    parts = _put_together(context, residence, clock)
    daemon, follower, membership = parts.daemon, parts.follower, parts.membership
    await parts.launcher.start()
    await follower.load()
    context.gateway.admit = Admission(follower, clock.now)
    await trio.to_thread.run_sync(janitor.sweep, settings.home, parts.launcher.pid)
    sweep_run_sockets(settings.home)
    membership.archive = await reach_of(context)
    await membership.join()
    parts.guards.left = await recover(context, follower)
    await deletion.settle(context)
    await settle(context)
    await parts.restore_parts.settle()
    uncopied = await retention.sweep(context)
    try:
        await _live(parts, uncopied)
    finally:
        with trio.CancelScope(shield=True):
            await parts.launcher.stop()
            if not daemon.taken:  # the other one is this node now
                await membership.leave()
    if daemon.evicted is not None:
        raise daemon.evicted
    return daemon.start_anew


async def _live(parts: Parts, uncopied: list[str]) -> None:
    """Run all parts until the daemon is to end, end its runs, then all parts."""
    context, follower, scheduler = parts.context, parts.follower, parts.scheduler
    daemon, worker, residence = parts.daemon, parts.worker, parts.residence
    health = Heartbeat(context, worker, follower, scheduler, parts.clock)
    alerts = AlertWatch(context, follower, scheduler, parts.clock)
    daemon.look_for_alerts = alerts.look
    lead = Lead(lambda: scheduler.leading, scheduler.fence, parts.clock.now, scheduler.when_leading)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.launcher.watch)
        nursery.start_soon(follower.run)
        nursery.start_soon(parts.membership.keep)
        nursery.start_soon(scheduler.run)
        nursery.start_soon(worker.run)
        nursery.start_soon(parts.wishes.run)
        nursery.start_soon(parts.forwarded.run)
        nursery.start_soon(parts.snapshot_parts.run)
        nursery.start_soon(parts.restore_parts.run)
        nursery.start_soon(Coordinator(context, follower, lead, RestoreCourse(context, follower)).run)
        nursery.start_soon(parts.guards.run)
        nursery.start_soon(health.run)
        nursery.start_soon(alerts.run)
        nursery.start_soon(Timetable(context, follower, lead).run)
        nursery.start_soon(Firings(context, follower, lead).run)
        nursery.start_soon(watch_disk, context, worker)
        nursery.start_soon(tidy, context, follower, scheduler)
        nursery.start_soon(keep_sealed, context, follower, scheduler)
        nursery.start_soon(keep_settled, context)
        nursery.start_soon(keep_copied, context, scheduler, uncopied)
        nursery.start_soon(_keep_warm, parts)
        nursery.start_soon(_watch_lineage, context)
        nursery.start_soon(listen_signals, daemon, worker, residence)
        nursery.start_soon(daemon.end_when_drained)
        nursery.start_soon(daemon.leave_when_drained, context.node)
        await nursery.start(listen_admin, context)
        nursery.start_soon(residence.watch, daemon, context.revive is not None)
        residence.settled()
        nursery.start_soon(residence.manager.keep, lambda: _status(parts), lambda: follower.still_s)
        log.info("node %s is up, namespace %s", context.node, context.settings.namespace)
        await daemon.ending.wait()
        residence.leaving()
        await end_runs(context, daemon, worker)
        nursery.cancel_scope.cancel()


def _status(parts: Parts) -> str:
    """What the daemon does, in a line for whoever asks the service manager."""
    follower, context = parts.follower, parts.context
    trouble = follower.stopped or ("the store is away" if follower.away else "")
    doing = f"{parts.worker.count()} runs on, {len(follower.plan.tasks)} tasks open"
    return f"node {context.node}, namespace {context.settings.namespace}: {trouble or doing}"


async def _keep_warm(parts: Parts) -> None:
    """Advance the views soon after each event, so that the first reader finds little to do."""
    context, follower, scheduler = parts.context, parts.follower, parts.scheduler
    projector = Projector(context.store)
    while True:
        seen = follower.seq
        try:
            await context.call(projector.catch_up)
        except StoreUnsafe:
            raise
        except MaestroError as error:
            seldom.warn("views", error.line())
        await trio.sleep(WARM_EVERY_S if scheduler.leading else WARM_ELSEWHERE_S)
        await follower.news_within(WARM_IDLE_S, seen)


async def _watch_lineage(context: Context) -> None:
    """Raise where the log is not the one that this process knows: going on would fork its history."""
    await context.gateway.breaks.wait()
    assert context.gateway.broken is not None
    raise context.gateway.broken
