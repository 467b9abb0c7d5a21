"""The needs of a snapshot: which packs hold what its trees are made of, so that they can be copied elsewhere."""

from __future__ import annotations

from pathlib import Path

import msgspec

from maestro.workspaces.archive.format import index as indexes, manifests
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read.contents import Contents


class Needs(msgspec.Struct, frozen=True):
    """The files that a snapshot needs. digest: of the manifest, its id; trees: of each tree its packs, sorted."""

    manifest: Path
    digest: str
    trees: dict[str, list[Path]]

    @property
    def packs(self) -> list[Path]:
        """All packs, each once, sorted."""
        return sorted({pack for packs in self.trees.values() for pack in packs})


def needs_of(layout: Layout, snapshot: str) -> Needs:
    """The needs of a snapshot. The caller holds `layout.shared()`.

    Raises `NotFound`, `VerificationFailed` where a part of it is known to be lost.
    """
    manifest, digest = manifests.read(layout, snapshot)
    index = indexes.load(layout)
    contents = Contents(layout, index)
    trees: dict[str, list[Path]] = {}
    try:
        for tree in manifest.trees:
            entries, lists = contents.entries(tree)
            wanted = {piece.digest for entry in entries for piece in entry.parts() if piece.digest}
            listing = {*lists, tree.root}
            packs = {index.find(one).pack for one in wanted | listing}
            packs |= {index.spares[one].pack for one in listing if one in index.spares}
            trees[tree.name] = [layout.packs / f"{pack}.pack" for pack in sorted(packs)]
    finally:
        contents.close()
    return Needs(manifests.path_of(layout, snapshot), digest, trees)
