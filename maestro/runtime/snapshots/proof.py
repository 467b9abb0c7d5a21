"""Proof of a snapshot without restoring it: every byte of it is read, and the log that it holds is folded again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import trio

from maestro.model.errors import NotFound, Refused, VerificationFailed
from maestro.model.ids import shown
from maestro.model.snapshot import SCHEDULED, Snapshot, existing, latest
from maestro.runtime.node.context import Call, Context
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import SnapshotMeta, of_export, of_manifest
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.workspaces.archive.export.export_reader import open_export
from replayers import checkpoint

LATEST = "latest"
TREE = "checkpoint"


def is_path(source: str) -> bool:
    """Whether a user means an export file, and not a snapshot's id."""
    return os.sep in source or source.endswith((".gz", ".tgz"))


async def named(call: Call, name: str) -> str:
    """The id of the snapshot that a user names by its id or as `latest`. Raises NotFound."""
    return await newest(call.context) if name == LATEST else name


async def newest(context: Context) -> str:
    """The id of the `latest` snapshot: the newest complete one that was asked for, at once or by a schedule.

    Where the log knows of none, the archive says which one that is. Raises NotFound; VerificationFailed as
    `meta.decode`.
    """
    rows: list[Snapshot] = await context.rows(context.views.snapshots)
    if found := latest(rows):
        return found.id
    archive = SnapshotFolders(context.settings.home).archive()
    for each in reversed(await trio.to_thread.run_sync(archive.snapshots)):
        if each.content is not None:
            meta = of_manifest(each.content)
            if not meta.output and (not meta.automatic or meta.reason == SCHEDULED):
                return each.snapshot
    mend = "take one with `maestro state snapshot`, or name one that `maestro state snapshots` lists"
    raise NotFound("there is no snapshot here that was asked for", mend=mend)


async def prove(call: Call, source: str) -> dict[str, Any]:
    """Check a snapshot of this node by id, or an export by path; returns its figures.

    Raises VerificationFailed naming what is damaged; NotFound, Refused where it lies on another node or is not
    complete.
    """
    if is_path(source):
        path = str(Path(call.caller.cwd, source))
        report = ProgressReport(call.note, "verifying")
        return await trio.to_thread.run_sync(_prove_export, SnapshotFolders(call.context.settings.home), path, report)
    name = await named(call, source)
    row = await call.context.row(call.context.views.snapshot, name)
    folders = SnapshotFolders(call.context.settings.home)
    if row is None and not folders.has(name):
        existing(name, None)
    if row is not None and not row.complete:
        raise Refused(f"snapshot {name} is {row.state}", mend="maestro state snapshots lists those that are complete")
    if not folders.has(name):
        where = f"on node {row.node}" if row and not row.lies_on(call.context.node) else str(folders.root)
        raise NotFound(f"snapshot {shown(name)} lies {where}", mend="verify it there")
    return await trio.to_thread.run_sync(_prove_kept, folders, name, row, ProgressReport(call.note, "verifying"))


def _prove_export(folders: SnapshotFolders, path: str, report: ProgressReport) -> dict[str, Any]:
    with open_export(path) as export, folders.stage() as stage:
        is_there = any(branch.name == TREE for branch in export.head.trees)
        proved = export.restore({TREE: stage / TREE} if is_there else {}, report.written)
        about = _about(of_export(export.head, path), stage if is_there else None)
        sums = {"manifest": proved.manifest, "entries": proved.entries, "bytes": proved.bytes}
        return {"ok": True, "snapshot": proved.snapshot, "file": path, **sums, **about}


def _prove_kept(folders: SnapshotFolders, name: str, row: Snapshot | None, report: ProgressReport) -> dict[str, Any]:
    archive = folders.archive()
    verified = archive.verify(name, row.manifest if row else "", report.written)
    content = archive.read(name).content
    assert content is not None
    with folders.stage() as stage:
        is_there = any(tree.name == TREE for tree in content.trees)
        if is_there:
            archive.restore(name, TREE, stage / TREE)
        about = _about(of_manifest(content), stage if is_there else None)
    sums = {"manifest": verified.manifest, "entries": verified.entries, "bytes": verified.bytes}
    return {"ok": True, "snapshot": name, "file": None, **sums, **about}


def _about(meta: SnapshotMeta, stage: Path | None) -> dict[str, object]:
    """A snapshot's account of itself, with the figures of the log in it, which is proved. Raises VerificationFailed."""
    found: dict[str, object] = {
        "namespace": meta.namespace,
        "node": meta.node,
        "reason": meta.reason,
        "workspace_root": meta.workspace_root,
        "position": meta.position,
        "workspaces": [msgspec.structs.asdict(each) for each in meta.workspaces],
        "missing": [msgspec.structs.asdict(each) for each in meta.missing],
    }
    if stage is not None:
        proved = checkpoint.verify(stage / TREE)
        if (proved.position, proved.chain) != (meta.position, meta.chain):
            raise VerificationFailed("the log in it is not the one that the manifest names", where=TREE)
        found |= {"events": proved.events, "blobs": proved.blobs, "views": proved.digests}
    return found
