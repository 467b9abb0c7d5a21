"""The upload of this node's snapshots into the shared archive. One that must lie there counts only when it does.

Those of failsafe mode and of steps count as soon as they lie in the node's own archive, so that no run waits for a slow
object store: they follow when nothing else is under way (`catch_up`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import trio

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.monitoring.failsafe import REASON
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.shared.copying import Copies, Report, writing
from maestro.runtime.snapshots.shared.identity import WAY_OUT, shared_place
from maestro.runtime.snapshots.shared.patience import Patience, waited
from maestro.runtime.snapshots.shared.place import SharedPlace

LOOK_S_MAX = 10.0


async def check_reach(context: Context) -> None:
    """Check, before anything is paused, that what is about to be taken can be copied. Raises Refused."""
    await shared_place(context)


def must_be_copied(row: Snapshot) -> bool:
    """Whether a snapshot counts only when it lies in the shared archive."""
    return row.reason != REASON and not row.run


async def copy_up(call: Call, snapshot: str) -> None:
    """Copy a snapshot of this node, which the caller has the turn for, into the shared archive, if there is one.

    Raises Refused where it cannot be copied: then it does not count.
    """
    place = await shared_place(call.context)
    if place is None:
        return
    report = ProgressReport(call.note, f"copying to {place.url}")
    try:
        await _copied(call.context, place, snapshot, report.written)
    except Refused as error:
        what = f"the snapshot is not in the shared archive: {error.what}"
        raise Refused(what, error.where or place.url, error.mend or WAY_OUT) from None


async def _copied(context: Context, place: SharedPlace, snapshot: str, report: Report | None = None) -> None:
    home, node = context.settings.home, context.node

    def work(patience: Patience) -> None:
        with writing(home, place, patience):
            Copies(place, node, home, patience).add(SnapshotFolders(home).archive(), snapshot, report)

    await waited(work, place.url)


async def is_copied(context: Context, snapshot: str) -> bool:
    """Whether a snapshot of this node lies in the shared archive, or need not. Quick: False where that is unknown."""
    try:
        place = await shared_place(context)
        if place is None:
            return True
        look = partial(_listed, place, context)
        return snapshot in await waited(look, place.url, LOOK_S_MAX)
    except MaestroError as error:
        log.warning("the shared archive: %s", error.line())
        return False


def _listed(place: SharedPlace, context: Context, patience: Patience) -> set[str]:
    return Copies(place, context.node, context.settings.home, patience).listed()


async def catch_up(context: Context, more: Collection[str] = ()) -> None:
    """Copy the complete snapshots of this node, and `more`, that are not in the shared archive yet, newest last.

    What is damaged or gone here is left out. Raises Refused where the shared archive is out of reach.
    """
    place = await shared_place(context)
    if place is None:
        return
    folders = SnapshotFolders(context.settings.home)
    rows: list[Snapshot] = await context.rows(context.views.snapshots)
    wanted = [*(row.id for row in reversed(rows) if row.complete and row.lies_on(context.node)), *more]
    there = await waited(partial(_listed, place, context), place.url)
    for name in wanted:
        if name in there or not await trio.to_thread.run_sync(folders.has, name):
            continue
        try:
            await _copied(context, place, name)
        except VerificationFailed as error:  # the rest may be whole
            seldom.warn(f"copying {name}", f"snapshot {name} cannot be copied: {error.line()}")
