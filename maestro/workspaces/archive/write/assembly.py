"""The assembly of one snapshot from its parts in several archives: their packs are linked, and not read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from maestro.durable import sync_folder
from maestro.workspaces.archive.format import manifests
from maestro.workspaces.archive.format.entries import FORMAT, Manifest, Tree
from maestro.workspaces.archive.format.layout import Layout, disk_refusal
from maestro.workspaces.archive.read.needs import needs_of


def assemble(layout: Layout, snapshot: str, parts: Sequence[Layout], meta: dict[str, object]) -> None:
    """Make a snapshot of the trees that these archives have under its id; of one name the first. meta: as in `save`.

    Raises `NotFound`, `VerificationFailed` where a part lacks something, `Refused` where the disk is full.
    """
    trees: dict[str, Tree] = {}
    taken_at = 0
    for part in parts:
        manifest, _ = manifests.read(part, snapshot)
        taken_at = max(taken_at, manifest.taken_at)
        for tree in manifest.trees:
            trees.setdefault(tree.name, tree)
        for pack in needs_of(part, snapshot).packs:
            target = layout.packs / pack.name
            if target.exists():
                continue
            try:
                os.link(pack, target)
            except OSError:  # another file system
                try:
                    shutil.copyfile(pack, target)
                except OSError as error:
                    raise disk_refusal(error, layout.root) from None
    sync_folder(layout.packs)
    manifests.write(layout, Manifest(FORMAT, snapshot, taken_at, meta, list(trees.values())))
