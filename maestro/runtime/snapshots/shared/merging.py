"""The merging of a snapshot over several nodes into one export file: each part is fetched, and all are one then."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
import trio

from maestro.model.errors import Refused
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Call, Context
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import encode, of_manifest
from maestro.runtime.snapshots.progress import ProgressReport, mind_room
from maestro.runtime.snapshots.shared.fetched_archive import FetchedArchive
from maestro.runtime.snapshots.shared.reached import reached
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.library import Archive


def check_may_merge(context: Context, where: str) -> None:
    """Check, before the snapshot is taken, that its parts can be brought together here. Raises Refused."""
    if context.settings.archive_url is None:
        mend = "set MAESTRO_ARCHIVE_URL on all nodes, leave it away, or name workspaces of one node with --workspace"
        raise Refused(f"one file holds what this node reaches, and this lies on {where}", "--output", mend)


async def export_parts(call: Call, row: Snapshot, out: str) -> Exported:
    """Write what all nodes hold of a snapshot to one file. Raises as `reached`, and as `Archive.export`."""
    context = call.context
    here = sorted(row.nodes, key=lambda node: (node != context.node, node))
    folders = SnapshotFolders(context.settings.home)
    report = ProgressReport(call.note, f"writing {out}", mind=partial(mind_room, context))
    async with AsyncExitStack() as stack:
        archives = []
        for node in here:
            fetching = ProgressReport(call.note, f"fetching the part of node {node}")
            archives.append(await stack.enter_async_context(reached(context, node, fetching.written)))

        def work() -> Exported:
            with folders.stage() as stage:
                merged = _merged(archives, row.id, stage / "merged", out)
                folders.note_output(out)
                return merged.export(row.id, out, progress=report.written)

        async with folders.turn(partial(call.note, "waiting until the snapshot that is being taken is complete")):
            return await trio.to_thread.run_sync(work)


def _merged(archives: list[Archive], snapshot: str, folder: Path, out: str) -> Archive:
    """An archive that holds all parts of the snapshot as one. Blocks."""
    metas = []
    for archive in archives:
        if isinstance(archive, FetchedArchive):
            archive.fetch(snapshot)
        content = archive.read(snapshot).content
        assert content is not None
        metas.append(of_manifest(content))
    meta = msgspec.structs.replace(
        metas[0],
        output=out,
        workspaces=tuple(each for one in metas for each in one.workspaces),
        missing=tuple(dict.fromkeys(each for one in metas for each in one.missing)),
    )
    merged = Archive(folder)
    not_held = [each for one in metas for each in one.not_held]
    merged.assemble(snapshot, archives, encode(meta) | ({"not_held": not_held} if not_held else {}))
    return merged
