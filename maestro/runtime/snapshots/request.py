"""What a snapshot is asked to hold, and the snapshot that was taken."""

from __future__ import annotations

import msgspec

from maestro.model.snapshot import SCHEDULED, Snapshot
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces.archive.export.export_writer import Exported

ASKED = "asked"


class SnapshotRequest(msgspec.Struct, frozen=True):
    """What a snapshot is to hold. reason: as in `SnapshotStarted`; all but `asked` expire.

    agents: whose workspaces, None for all; their runs on this node are paused meanwhile. folders: to read besides, in
    which no agent works. include_logs: the output of runs too. allow_torn: files may change while they are read.
    allow_missing: workspaces that cannot be read are named in it. output: the file to export it to, an absolute path,
    "" for none. run: of a workflow, which needs it while it is open. name: its id, "" for a new one.
    """

    reason: str = ASKED
    agents: tuple[str, ...] | None = None
    folders: tuple[Source, ...] = ()
    include_logs: bool = False
    allow_torn: bool = False
    allow_missing: bool = False
    rolling: bool = False
    output: str = ""
    run: str = ""
    name: str = ""

    @property
    def asked(self) -> bool:
        """Whether a user says what it holds: at once, or by a schedule."""
        return self.reason in (ASKED, SCHEDULED)


class TakenSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that is complete. exported: its export file, where one was asked for."""

    row: Snapshot
    exported: Exported | None = None
