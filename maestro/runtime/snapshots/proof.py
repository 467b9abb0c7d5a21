"""Proof of a snapshot without restoring it: every byte of it is read, and the log that it holds is folded again."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from maestro.model.errors import NotFound, Refused, VerificationFailed
from maestro.model.ids import shown
from maestro.model.snapshot import SCHEDULED, Snapshot, existing, latest
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.forwards.forwarding import forward, is_up
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import SnapshotMeta, of_export, of_manifest
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.shared.catalogue import account, copies
from maestro.runtime.snapshots.shared.fetched_archive import FetchedArchive
from maestro.runtime.snapshots.shared.reached import reached
from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.library import Archive
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

    Where the log knows of none, the archives say which one that is: this node's, and the shared one. Raises NotFound;
    VerificationFailed as `meta.decode`; Refused where the shared archive is out of reach.
    """
    rows: list[Snapshot] = await context.rows(context.views.snapshots)
    if found := latest(rows):
        return found.id
    archive = SnapshotFolders(context.settings.home).archive()
    here = {each.snapshot: each.content for each in await trio.to_thread.run_sync(archive.snapshots)}
    there = await copies(context)
    for name in sorted(here.keys() | there.keys(), reverse=True):
        content = here.get(name)
        meta = of_manifest(content) if content is not None else None
        for node in () if name in here else there[name][:1]:
            meta = await account(context, name, node)
        if meta is not None and not meta.output and (not meta.automatic or meta.reason == SCHEDULED):
            return name
    mend = "take one with `maestro state snapshot`, or name one that `maestro state snapshots` lists"
    raise NotFound("there is no snapshot here that was asked for", mend=mend)


async def where_it_lies(context: Context, name: str, row: Snapshot | None) -> str:
    """The node from whose archive a snapshot is read: this one where it has it, or nobody is known to.

    Where the log does not tell of it, the shared archive does. Raises Refused where that is out of reach.
    """
    folders = SnapshotFolders(context.settings.home)
    if (row is not None and row.lies_on(context.node)) or await trio.to_thread.run_sync(folders.has, name):
        return context.node
    if row is not None:
        return row.nodes[0]
    return next(iter((await copies(context)).get(name, ())), context.node)


def manifest_of(row: Snapshot | None, node: str) -> str:
    """The digest that the manifest of a snapshot must have in the archive of a node, "" where that is not known."""
    if row is None:
        return ""
    return row.manifest_on(node) if row.lies_on(node) else ""


async def prove(call: Call, source: str) -> dict[str, Any]:
    """Check a snapshot by id, or an export by path; returns its figures. What another node has archived is read in the
    shared archive; where there is none, that node checks it.

    Raises VerificationFailed naming what is damaged; NotFound, Refused where it is out of reach or not complete.
    """
    folders = SnapshotFolders(call.context.settings.home)
    if is_path(source):
        path = str(Path(call.caller.cwd, source))
        report = ProgressReport(call.note, "verifying")
        return await trio.to_thread.run_sync(_prove_export, folders, path, report)
    name = await named(call, source)
    row = await call.context.row(call.context.views.snapshot, name)
    if row is None and not folders.has(name):
        existing(name, None)
    if row is not None and not row.complete:
        raise Refused(f"snapshot {name} is {row.state}", mend="maestro state snapshots lists those that are complete")
    if row is None or call.forwarded or len(row.nodes) == 1:
        return await _prove_part(call, name, row, await where_it_lies(call.context, name, row))
    parts = [await _prove_part(call, name, row, node) for node in row.nodes]
    for part in parts:
        part["workspaces"] = [each | {"node": part["node"]} for each in part["workspaces"]]
    whole = parts[0] | {key: [each for part in parts for each in part[key]] for key in ("workspaces", "missing")}
    whole |= {key: sum(part[key] for part in parts) for key in ("entries", "bytes")}
    told = ("node", "manifest", "entries", "bytes", "workspaces")
    return whole | {"node": None, "parts": [{key: part[key] for key in told} for part in parts]}


async def _prove_part(call: Call, name: str, row: Snapshot | None, node: str) -> dict[str, Any]:
    """Check what one node holds of a snapshot: this one, that one itself, or through the shared archive."""
    context = call.context
    folders = SnapshotFolders(context.settings.home)
    if node == context.node and not folders.has(name):
        raise NotFound(f"snapshot {shown(name)} is not in {folders.root}", mend="maestro state snapshots lists all")
    is_own = node == context.node or context.settings.archive_url is not None
    if not is_own and not call.forwarded and await is_up(context, node):
        return dict((await forward(call, node, p.StateVerify(source=name))).data)  # which need not fetch it
    fetching = ProgressReport(call.note, f"fetching what node {node} has archived")
    async with reached(context, node, fetching.written) as archive:
        found = partial(_prove_kept, folders, archive, name, manifest_of(row, node))
        return await trio.to_thread.run_sync(found, ProgressReport(call.note, "verifying"))


def _prove_export(folders: SnapshotFolders, path: str, report: ProgressReport) -> dict[str, Any]:
    with open_export(path) as export, folders.stage() as stage:
        is_there = any(branch.name == TREE for branch in export.head.trees)
        proved = export.restore({TREE: stage / TREE} if is_there else {}, report.written)
        about = _about(of_export(export.head, path), stage if is_there else None)
        sums = {"manifest": proved.manifest, "entries": proved.entries, "bytes": proved.bytes}
        return {"ok": True, "snapshot": proved.snapshot, "file": path, **sums, **about}


def _prove_kept(
    folders: SnapshotFolders, archive: Archive, name: str, manifest: str, report: ProgressReport
) -> dict[str, Any]:
    if isinstance(archive, FetchedArchive):
        archive.check_there(name)
    verified = archive.verify(name, manifest, report.written)
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
