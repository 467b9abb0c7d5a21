"""Retention of snapshots: at a node's start those that were broken off are ended, later those that are too old deleted.

Only what the log of this namespace knows to be over is deleted (`maestro.model.snapshot.retained`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import trio

from maestro.model.coordination.snapshot_parts import of_one_node
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.model.events import NewEvent, SnapshotFailed, SnapshotTaken
from maestro.model.snapshot import Snapshot, decide_end, decide_expired, latest, outlived, retained, unfinished
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import of_manifest
from maestro.runtime.snapshots.needed_runs import needed_runs
from maestro.runtime.snapshots.shared.catalogue import copies
from maestro.runtime.snapshots.shared.reached import reached
from maestro.runtime.snapshots.shared.upload import is_copied, must_be_copied
from maestro.store.contract import Committed
from maestro.workspaces.archive.format.entries import located
from maestro.workspaces.archive.library import Archive

DAY_MS = 86_400_000
ENDED = "the daemon ended before it was complete"
GIVE_UP = "put a copy of what is damaged back, or remove the manifest of that snapshot to give it up"


async def sweep(context: Context, only: Collection[str] | None = None) -> list[str]:
    """At the daemon's start, end each snapshot that an earlier process was taking. only: these, None for all.

    It is complete if the archive of this node holds it whole; else it has failed, and leaves nothing. One that is whole
    here, and must be copied to the shared archive first, is left, and returned. A log that was loaded from a snapshot
    says that this one is still being taken, as its end came later; where it was loaded by another node than has taken
    it, the shared archive has it whole.
    """
    folders = SnapshotFolders(context.settings.home)
    if not await trio.to_thread.run_sync(folders.is_free):
        return []  # a command without a daemon is taking a snapshot
    left: list[str] = []
    up = {node.id for node in await context.rows(context.views.nodes) if node.status == "up"}
    floor = await context.floor()
    taking: list[Snapshot] = await context.rows(context.views.snapshots, "taking")
    broken_off = unfinished(taking, context.node, up, floor)
    ended = await _end_copied(context, folders, [row for row in taking if row in broken_off or row.position < floor])
    for row in broken_off:
        if row.id in ended or (only is not None and row.id not in only):
            continue
        whole = await trio.to_thread.run_sync(_whole, folders, row)
        if whole is not None:
            whole = of_one_node(whole, row)
        if whole is not None and must_be_copied(row) and not await is_copied(context, row.id):
            if context.settings.archive_url is not None:
                left.append(row.id)
                continue
            whole = None  # the URL was unset since, and other nodes have one: it would never be copied
        await _append(context, decide_end(whole or SnapshotFailed(row.id, ENDED), row, floor), row)
        if whole is None:
            log.warning("snapshot %s: %s", row.id, ENDED)
    newest = latest(await context.rows(context.views.snapshots))

    def work() -> None:
        folders.sweep()
        folders.point(newest)
        if folders.root.is_dir():
            folders.archive()  # opening the archive sweeps what broken-off writes left in it

    try:
        await trio.to_thread.run_sync(work)
    except (MaestroError, OSError) as error:  # the node works on: each attempt to take a snapshot tells the reason
        log.warning("snapshots: %s", error)
    return left


async def _end_copied(context: Context, folders: SnapshotFolders, rows: Sequence[Snapshot]) -> set[str]:
    """End those that are not here, and that the shared archive holds whole: the ids of those, and of those of which it
    cannot be said, which the next start looks at again. One that is told as failed would be removed there some day.
    """
    found: set[str] = set()
    for row in rows:
        if await trio.to_thread.run_sync(folders.has, row.id):
            continue
        try:
            copied = await _copied(context, row)
        except MaestroError as error:
            found.add(row.id)
            log.warning("whether snapshot %s is whole elsewhere cannot be said: %s", row.id, error.line())
            continue
        if copied is not None:
            found.add(row.id)
            await _append(context, decide_end(of_one_node(copied, row), row, await context.floor()), row)
    return found


def _whole(folders: SnapshotFolders, row: Snapshot) -> SnapshotTaken | None:
    """The `snapshot.taken` of a snapshot that the archive holds whole, None where it does not. Blocks."""
    return _taken(folders.archive(), row, row.node) if folders.has(row.id) else None


async def _copied(context: Context, row: Snapshot) -> SnapshotTaken | None:
    """The `snapshot.taken` of a snapshot of another node that the shared archive holds whole, None where it does not.

    Raises Refused where that archive is out of reach.
    """
    if context.settings.archive_url is None or row.node in ("", context.node):
        return None
    nodes = (await copies(context)).get(row.id, [])
    if not nodes:
        return None
    node = row.node if row.node in nodes else nodes[0]
    async with reached(context, node) as archive:
        return await trio.to_thread.run_sync(_taken, archive, row, node)


def _taken(archive: Archive, row: Snapshot, node: str) -> SnapshotTaken | None:
    """The `snapshot.taken` of a snapshot in the archive of a node, None where it cannot be read. Blocks."""
    try:
        found = archive.read(row.id)
        assert found.content is not None
        trees = found.content.trees
        meta = of_manifest(found.content)
    except MaestroError as error:
        log.warning("snapshot %s cannot be read: %s", row.id, error.line())
        return None
    return SnapshotTaken(
        row.id,
        row.position,
        row.automatic,
        meta.output,
        reason=row.reason,
        manifest=found.manifest,
        workspaces=meta.workspaces,
        bytes=sum(tree.size for tree in trees),
        torn=tuple(located(tree.name, path) for tree in trees for path in tree.torn),
        node=node,
        missing=meta.missing,
        not_held=meta.not_held,
    )


async def expire(context: Context, now: int) -> None:
    """Delete failed snapshots, and those older than MAESTRO_SNAPSHOT_RETENTION at `now` (ms); give back their room."""
    folders = SnapshotFolders(context.settings.home)
    if not folders.is_there:
        return
    days = context.settings.snapshot_retention_days
    rows = await context.rows(context.views.snapshots)
    floor = await context.floor()
    damaged = await trio.to_thread.run_sync(folders.damaged)
    guards = {agent.guard.snapshot for agent in await context.rows(context.views.agents) if agent.guard is not None}
    guards.update(*(each.needs for each in await context.rows(context.views.restores, "open")))
    for row in outlived(rows, now, days * DAY_MS, damaged.keys(), await needed_runs(context)):
        if row.id in guards:  # a workspace may yet have to go back to it
            continue
        if row.lies_on(context.node) and await _append(context, decide_expired(row, floor), row):
            log.info("snapshot %s is older than %d days: deleted", row.id, days)
    await _collect(context, folders)


async def _collect(context: Context, folders: SnapshotFolders) -> None:
    has_over = (await context.page(context.views.snapshots, "over", limit=1)).total > 0

    def work() -> None:
        archive = folders.archive()
        there = [snapshot.snapshot for snapshot in archive.snapshots()]
        keep = retained(there, {row.id: row for row in context.views.snapshots_named(there).rows})
        if len(keep) == len(there) and not has_over:  # what has failed may have left something all the same
            return
        collected = archive.collect(keep)
        if collected.snapshots or collected.freed_bytes:
            log.info("%d snapshots deleted, %d bytes given back", len(collected.snapshots), collected.freed_bytes)

    try:
        await trio.to_thread.run_sync(work)
    except Refused as refused:  # a snapshot is being taken or restored: it is tried again tomorrow
        log.info("snapshots are not collected now: %s", refused.line())
    except VerificationFailed as error:  # which packs the damaged one needs is unknown, so all are kept
        log.warning("snapshots are not collected: %s; %s", error.line(), GIVE_UP)


async def _append(context: Context, events: list[NewEvent], row: Snapshot) -> bool:
    try:
        result = await context.append(events, f"tidy:{context.node}", f"retention:{row.version}")
    except MaestroError as error:
        log.warning("snapshot %s: %s", row.id, error.line())
        return False
    return isinstance(result, Committed)
