"""The archives of a fork: copies of the snapshots that its history tells of, and the workspaces that come from them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

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


def copied(rows: Iterable[Snapshot], source: Path, home: Path, report: Report) -> tuple[dict[str, Snapshot], list[str]]:
    """Copy the snapshots that lie in one home into another: those that could be, by id, and why others could not.

    source: MAESTRO_HOME of the namespace; home: of the fork. report: bytes done, and all. Blocks. Raises Refused where
    the disk is full.
    """
    there, found, lacking = SnapshotFolders(source), dict[str, Snapshot](), list[str]()
    if not there.is_there:
        return found, lacking
    archive, target = there.archive(), SnapshotFolders(home)
    target.archive()
    manifests: list[Path] = []
    packs: dict[Path, None] = {}
    with archive.held():
        for row in rows:
            if not there.has(row.id):
                continue
            try:
                needs = archive.needs(row.id)
            except MaestroError as error:
                lacking.append(f"snapshot {row.id} is not in the fork: {error.line()}")
                continue
            manifests.append(needs.manifest)
            packs.update(dict.fromkeys(needs.packs))
            found[row.id] = row
        total, done = sum(path.stat().st_size for path in packs), 0
        for path in packs:
            done += _copy(path, target.root / "packs" / path.name)
            report(done, total)
        sync_folder(target.root / "packs")
        for path in manifests:  # last: what has no manifest is no snapshot
            _copy(path, target.root / "manifests" / path.name)
        sync_folder(target.root / "manifests")
    return found, lacking


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
