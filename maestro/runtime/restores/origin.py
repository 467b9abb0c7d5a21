"""What a restore reads from: a snapshot in the snapshot store, or an export file, which may be from anybody.

Both carry the same account of themselves (`SnapshotMeta`), can be proved, compared with a folder, and put into stages.
All calls block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from maestro.model.errors import MaestroError, VerificationFailed
from maestro.runtime.snapshots.meta import SnapshotMeta, of_export, of_manifest
from maestro.workspaces.archive.export.export_reader import Export, open_export
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.archive.write.diff import Diff

CHECKPOINT = "checkpoint"
"""The tree that holds the log."""


Progress = Callable[[int, int], None]


class Stage(msgspec.Struct, frozen=True):
    """Where a tree is to be put. instead_of: the folder whose place it takes, whose files may be used again."""

    tree: str
    path: str
    instead_of: str | None = None


class Origin(Protocol):
    """A snapshot to restore from. name: its id; path: of the export, "" where it is in the store.

    reuses: files that are in a workspace still are not written again.
    """

    name: str
    path: str
    reuses: bool
    meta: SnapshotMeta

    def size(self, tree: str) -> int:
        """Bytes of all files of a tree."""

    def verify(self, progress: Progress | None = None) -> None:
        """Read and check every byte. Raises `VerificationFailed` naming what is damaged, and what `progress` raises,
        which is called now and then with the bytes that are done, and all.
        """

    def diff(self, tree: str, path: str) -> Diff:
        """What putting the tree at `path` would change there."""

    def lost(self, tree: str) -> list[Lost]:
        """The files of a tree that are known to be damaged. Raises `VerificationFailed` where none is whole."""

    def put(
        self,
        stages: Sequence[Stage],
        progress: Progress | None = None,
        lost: dict[str, list[Lost]] | None = None,
    ) -> dict[str, MaestroError]:
        """Fill stages; every byte is checked. Why trees could not be put there, where the others could all the same.
        progress: as in `verify`.

        lost: where it is given, files that are damaged are left out, and entered there by tree. Raises
        `VerificationFailed`, `Refused` (no room, no rights) where none could.
        """

    def close(self) -> None:
        """Let go of files."""


class StoredOrigin:
    """A snapshot in the snapshot store. manifest: its digest as the log has it, "" where the log has none."""

    path = ""
    reuses = True

    def __init__(self, archive: Archive, snapshot: str, manifest: str = "") -> None:
        self._archive = archive
        self._manifest = manifest
        found = archive.read(snapshot)
        assert found.content is not None
        if manifest and found.manifest != manifest:
            raise VerificationFailed("its manifest is not the one that the log names", where=f"snapshot {snapshot}")
        self.name = snapshot
        self.meta = of_manifest(found.content)
        self._sizes = {tree.name: tree.size for tree in found.content.trees}

    def size(self, tree: str) -> int:
        """See Origin."""
        return self._sizes[tree]

    def verify(self, progress: Progress | None = None) -> None:
        """See Origin."""
        self._archive.verify(self.name, self._manifest, progress)

    def diff(self, tree: str, path: str) -> Diff:
        """See Origin."""
        return self._archive.diff(self.name, tree, path)

    def lost(self, tree: str) -> list[Lost]:
        """See Origin."""
        return self._archive.lost(self.name, tree)

    def put(
        self,
        stages: Sequence[Stage],
        progress: Progress | None = None,
        lost: dict[str, list[Lost]] | None = None,
    ) -> dict[str, MaestroError]:
        """See Origin."""
        failed: dict[str, MaestroError] = {}
        done, total = 0, sum(self._sizes[stage.tree] for stage in stages)
        for stage in stages:
            if progress is not None:
                progress(done, total)
            done += self._sizes[stage.tree]
            try:
                put = self._archive.restore(
                    self.name, stage.tree, stage.path, reuse=stage.instead_of, skip_lost=lost is not None
                )
            except MaestroError as error:
                failed[stage.tree] = error
            else:
                if lost is not None and put.lost:
                    lost[stage.tree] = put.lost
        return failed

    def close(self) -> None:
        """See Origin."""


class ExportedOrigin:
    """An export: one file, trusted in nothing that it does not prove."""

    reuses = False

    def __init__(self, archive: Archive, path: Path) -> None:
        self._archive = archive
        self._export: Export = open_export(path)
        try:
            head = self._export.head
            self.name, self.path = head.snapshot, str(path)
            self.meta = of_export(head, str(path))
        except BaseException:
            self._export.close()
            raise
        self._sizes = {branch.name: branch.size for branch in head.trees}

    def size(self, tree: str) -> int:
        """See Origin."""
        return self._sizes[tree]

    def verify(self, progress: Progress | None = None) -> None:
        """See Origin."""
        self._export.verify(progress)

    def diff(self, tree: str, path: str) -> Diff:
        """See Origin."""
        return self._archive.diff(self._export, tree, path)

    def lost(self, tree: str) -> list[Lost]:  # noqa: ARG002
        """See Origin; what is damaged in a file from elsewhere makes all of it untrustworthy."""
        return []

    def put(
        self,
        stages: Sequence[Stage],
        progress: Progress | None = None,
        lost: dict[str, list[Lost]] | None = None,  # noqa: ARG002
    ) -> dict[str, MaestroError]:
        """One pass over the file: what is damaged is trusted in nothing."""
        self._export.restore({stage.tree: stage.path for stage in stages}, progress)
        return {}

    def close(self) -> None:
        """See Origin."""
        self._export.close()
