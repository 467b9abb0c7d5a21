"""The archives of a fork: copies of the snapshots that its history tells of, and the workspaces that come from them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from maestro import files
from maestro.durable import sync_folder
from maestro.model.errors import MaestroError, Refused
from maestro.model.restore import Archived
from maestro.model.snapshot import Snapshot
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.workspaces.archive.library import Archive

Report = Callable[[int, int], None]
ROOM = "make room"
"""How the remedy of each error of a full disk begins."""


class Needed(NamedTuple):
    """What of an archive a fork copies: the snapshots by id, their files, and why others stay where they are."""

    rows: dict[str, Snapshot]
    packs: list[Path]
    manifests: list[Path]
    lacking: list[str]

    @property
    def bytes(self) -> int:
        """The bytes of all that is copied but the manifests."""
        return sum(path.stat().st_size for path in self.packs)


def needed(rows: Iterable[Snapshot], there: SnapshotFolders, archive: Archive) -> Needed:
    """What a fork copies of these snapshots, as they lie in an archive, which is held. Blocks."""
    found = Needed({}, [], [], [])
    packs: dict[Path, None] = {}
    for row in rows:
        if not there.has(row.id):
            continue
        try:
            needs = archive.needs(row.id)
        except MaestroError as error:
            found.lacking.append(f"snapshot {row.id} is not in the fork: {error.line()}")
            continue
        found.manifests.append(needs.manifest)
        packs.update(dict.fromkeys(needs.packs))
        found.rows[row.id] = row
    found.packs.extend(packs)
    return found


def copied(rows: Iterable[Snapshot], source: Path, home: Path, report: Report) -> Needed:
    """Copy the snapshots that lie in one home into another; what was copied.

    source: MAESTRO_HOME of the namespace; home: of the fork. report: bytes done, and all. Blocks. Raises Refused where
    the disk is full.
    """
    there = SnapshotFolders(source)
    if not there.is_there:
        return Needed({}, [], [], [])
    archive, target = there.archive(), SnapshotFolders(home)
    target.archive()
    with archive.held():
        found = needed(rows, there, archive)
        total, done = found.bytes, 0
        for path in found.packs:
            done += _copy(path, target.root / "packs" / path.name)
            report(done, total)
        sync_folder(target.root / "packs")
        for path in found.manifests:  # last: what has no manifest is no snapshot
            _copy(path, target.root / "manifests" / path.name)
        sync_folder(target.root / "manifests")
    return found


def looked_at(rows: Iterable[Snapshot], source: Path) -> tuple[Needed, int]:
    """What `copied` would copy, and how many bytes that are. Blocks."""
    there = SnapshotFolders(source)
    if not there.is_there:
        return Needed({}, [], [], []), 0
    archive = there.archive()
    with archive.held():
        found = needed(rows, there, archive)
        return found, found.bytes


def _copy(source: Path, to: Path) -> int:
    """Copy a file of an archive, whose content checksums prove where it is read; its bytes."""
    try:
        with files.opened(source) as original, to.open("xb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
            return copy.tell()
    except OSError as error:
        raise Refused(f"cannot be copied: {error.strerror}", str(source), f"{ROOM}, then try again") from None


def fill(archive: Archive, sources: Mapping[str, Archived], above: Path) -> dict[str, str]:
    """Put workspaces from an archive into `<above>/<agent>`; why some could not be put there, by agent. Blocks.

    Every byte is checked. Raises Refused where the disk is full: that is no reason for an empty workspace.
    """
    failed: dict[str, str] = {}
    for agent, archived in sources.items():
        try:
            archive.restore(archived.snapshot, archived.held.tree, above / agent)
        except MaestroError as error:
            if error.mend.startswith(ROOM):
                raise
            failed[agent] = error.line()
    return failed


def room_in(archive: Archive, sources: Mapping[str, Archived]) -> tuple[dict[str, int], dict[str, str]]:
    """How many bytes `fill` would put, by agent, and why it could not, as far as that is known. Blocks."""
    sizes: dict[str, int] = {}
    failed: dict[str, str] = {}
    for agent, archived in sources.items():
        try:
            sizes[agent] = archive.room(archived.snapshot, archived.held.tree)
        except MaestroError as error:
            failed[agent] = error.line()
    return sizes, failed
