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
from maestro.workspaces.archive.format.entries import Entry
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.archive.write.diff import Diff

CHECKPOINT = "checkpoint"
"""The name of the tree in a snapshot that holds the log."""


Progress = Callable[[int, int], None]


class Stage(msgspec.Struct, frozen=True):
    """A tree of a snapshot and the folder to put it into.

    instead_of: the workspace whose place the folder takes, whose files may be used again, None for none.
    """

    tree: str
    path: str
    instead_of: str | None = None


class Origin(Protocol):
    """A snapshot to restore from. name: its id; path: of the export, "" where it is in the archive; meta: its account.

    reuses: whether files that are still in a workspace are used again instead of being written.
    """

    name: str
    path: str
    reuses: bool
    meta: SnapshotMeta

    def has(self, tree: str) -> bool:
        """Whether it holds a tree of this name."""

    def size(self, tree: str) -> int:
        """The bytes of all files of a tree."""

    def room(self, tree: str) -> int:
        """The bytes that the files of a tree take on a disk: holes take none."""

    def verify(self, progress: Progress | None = None) -> None:
        """Read and check every byte of the snapshot. progress: called now and then with the bytes done, and all of
        them.

        Raises VerificationFailed naming what is damaged, and whatever `progress` raises.
        """

    def diff(self, tree: str, path: str) -> Diff:
        """What would change in the folder `path` if the tree were put there."""

    def entries(self, tree: str) -> Sequence[Entry]:
        """What a tree holds. Raises VerificationFailed where its listing is damaged."""

    def beginning(self, tree: str, path: bytes, bytes_max: int) -> bytes:
        """The first bytes of a file of a tree, checked. Raises NotFound, VerificationFailed."""

    def lost(self, tree: str) -> list[Lost]:
        """The files of a tree that are known to be damaged. Raises VerificationFailed where none of them is whole."""

    def put(
        self,
        stages: Sequence[Stage],
        progress: Progress | None = None,
        lost: dict[str, list[Lost]] | None = None,
    ) -> dict[str, MaestroError]:
        """Put trees into their stages, checking every byte; returns the errors, by tree, of those that could not be
        put.

        progress: as in `verify`. lost: where it is given, damaged files are left out, and entered there by tree. Raises
        VerificationFailed, Refused (no room, no rights) where none could be put.
        """

    def close(self) -> None:
        """Close the files of the snapshot."""


class StoredOrigin:
    """A snapshot in the archive. manifest: its digest as the log has it, "" where the log has none."""

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

    def has(self, tree: str) -> bool:
        """See Origin."""
        return tree in self._sizes

    def size(self, tree: str) -> int:
        """See Origin."""
        return self._sizes[tree]

    def room(self, tree: str) -> int:
        """See Origin."""
        return self._archive.room(self.name, tree)

    def verify(self, progress: Progress | None = None) -> None:
        """See Origin."""
        self._archive.verify(self.name, self._manifest, progress)

    def diff(self, tree: str, path: str) -> Diff:
        """See Origin."""
        return self._archive.diff(self.name, tree, path)

    def entries(self, tree: str) -> Sequence[Entry]:
        """See Origin."""
        return self._archive.listing(self.name, tree).entries

    def beginning(self, tree: str, path: bytes, bytes_max: int) -> bytes:
        """See Origin."""
        return self._archive.beginning(self.name, tree, path, bytes_max)

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
    """A snapshot in an export file, of which nothing is trusted that its digests do not prove."""

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

    def has(self, tree: str) -> bool:
        """See Origin."""
        return tree in self._sizes

    def size(self, tree: str) -> int:
        """See Origin."""
        return self._sizes[tree]

    def room(self, tree: str) -> int:
        """See Origin."""
        return self._archive.room(self._export, tree)

    def verify(self, progress: Progress | None = None) -> None:
        """See Origin."""
        self._export.verify(progress)

    def diff(self, tree: str, path: str) -> Diff:
        """See Origin."""
        return self._archive.diff(self._export, tree, path)

    def entries(self, tree: str) -> Sequence[Entry]:
        """See Origin."""
        return self._export.entries(tree)

    def beginning(self, tree: str, path: bytes, bytes_max: int) -> bytes:
        """See Origin. Reads the file up to there."""
        return self._export.beginning(tree, path, bytes_max)

    def lost(self, tree: str) -> list[Lost]:  # noqa: ARG002
        """No files: where a file from elsewhere is damaged, all of it is refused."""
        return []

    def put(
        self,
        stages: Sequence[Stage],
        progress: Progress | None = None,
        lost: dict[str, list[Lost]] | None = None,  # noqa: ARG002
    ) -> dict[str, MaestroError]:
        """See Origin. Reads the file once; where a byte is damaged, all of it is refused."""
        self._export.restore({stage.tree: stage.path for stage in stages}, progress)
        return {}

    def close(self) -> None:
        """See Origin."""
        self._export.close()
