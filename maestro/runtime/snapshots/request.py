"""A snapshot as it is asked for, and as it is answered."""

from __future__ import annotations

import msgspec

from maestro.model.snapshot import Snapshot
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.archive.export.export_writer import Exported

ASKED = "asked"


class SnapshotRequest(msgspec.Struct, frozen=True):
    """What to take. reason: as in `SnapshotStarted`; all but `asked` expire.

    agents: whose workspaces, None for all, the runs of this node being held still then. folders: read besides, nobody
    works there. allow_missing: what cannot be read is named in it. output: a file to export to, absolute, "" for none.
    """

    reason: str = ASKED
    agents: tuple[str, ...] | None = None
    folders: tuple[Source, ...] = ()
    include_logs: bool = False
    allow_torn: bool = False
    allow_missing: bool = False
    rolling: bool = False
    output: str = ""


class TakenSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that is complete. exported: the file with it, if one was wanted."""

    row: Snapshot
    exported: Exported | None = None
