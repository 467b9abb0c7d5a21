"""What a snapshot says about itself in its manifest, and an export of it in its outline: one struct for all readers.

The archive keeps it as plain JSON values (`meta`) and reads none of it but `not_held`, which it adds itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.model.events import SnapshotMissing, SnapshotWorkspace
from maestro.model.ids import is_id, shown
from maestro.workspaces.archive.export.outline import Head
from maestro.workspaces.archive.format.entries import Manifest

FORMAT = 1


class SnapshotMeta(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot's own account: of which log, which node and which workspaces it is, and why it was taken.

    position, chain: where the log was cut, and the log's chain value there. digests, folds: of the views at that
    position, and the version of the folds that gave them. taken_at: Unix time in ms. automatic: nobody asked for it.
    output: the file that it was taken for, "" for none: then it is never `latest`, and expires.
    rolling: each workspace was read at a position of its own. missing: workspaces that were asked for and are not in
    it. containers: how each agent that runs in a container is set up. not_held: mount points and unreadable files, as
    tree/path.

    Fields with a default may be absent in snapshots of earlier versions of Maestro.
    """

    format: int = FORMAT
    namespace: str
    node: str
    position: int
    chain: str
    digests: dict[str, str] = {}
    folds: str = ""
    workspace_root: str = ""
    reason: str = ""
    automatic: bool = False
    output: str = ""
    taken_at: int = 0
    rolling: bool = False
    workspaces: tuple[SnapshotWorkspace, ...] = ()
    missing: tuple[SnapshotMissing, ...] = ()
    containers: tuple[dict[str, object], ...] = ()
    not_held: tuple[str, ...] = ()


def encode(meta: SnapshotMeta) -> dict[str, object]:
    """The account as the archive keeps it, in JSON values. `not_held` is left to the archive, which finds it out."""
    said: dict[str, object] = msgspec.structs.asdict(meta)
    del said["not_held"]
    if not meta.output:
        del said["output"]
    said["workspaces"] = [_held(each) for each in meta.workspaces]
    said["missing"] = [msgspec.structs.asdict(each) for each in meta.missing]
    said["containers"] = list(meta.containers)
    return said


def _held(workspace: SnapshotWorkspace) -> dict[str, object]:
    """A workspace as it is kept: which node's archive it lies in, that archive need not say."""
    said: dict[str, object] = msgspec.structs.asdict(workspace)
    if not workspace.node:
        del said["node"]
    return said


def of_manifest(manifest: Manifest) -> SnapshotMeta:
    """The account of a snapshot in the archive. Raises VerificationFailed as `decode`."""
    return decode(manifest.meta, [tree.name for tree in manifest.trees], f"snapshot {manifest.snapshot}")


def of_export(head: Head, path: str) -> SnapshotMeta:
    """The account of a snapshot in an export, whose file lies at `path`. Raises VerificationFailed as `decode`."""
    return decode(head.meta, [branch.name for branch in head.trees], path)


def decode(said: Mapping[str, object], trees: Collection[str], where: str) -> SnapshotMeta:
    """The account that an archive or an export holds. trees: the names of its trees; where: it lies, for errors.

    Raises VerificationFailed for what is no account, one of another format, and one that names a workspace that cannot
    be: of no agent, in no tree, or at no absolute path.
    """
    try:
        meta = msgspec.convert(said, SnapshotMeta)
    except msgspec.ValidationError as error:
        raise VerificationFailed(f"it is no snapshot of Maestro's: {error}", where) from None
    if meta.format != FORMAT:
        raise VerificationFailed(f"it has the format {meta.format}, not {FORMAT}", where, "use the build that made it")
    for held in meta.workspaces:
        path = held.workspace
        is_path = path.startswith("/") and "\0" not in path and os.path.normpath(path) == path
        if held.tree not in trees or not is_path or not is_id(held.agent):
            raise VerificationFailed(f"it names an impossible workspace of {shown(held.agent)}", where)
    return meta
