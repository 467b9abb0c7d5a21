"""What happens to the log itself: snapshots of it, restores to a position, its segments and its lineage."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from maestro.model.facts import Fact


class SnapshotWorkspace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A workspace in a snapshot. tree: its name there; position: of the log when the workspace was read.

    mounted: it was a mount point, None where that is not known. node: in whose archive it lies, "" for that of the
    whole snapshot.
    """

    agent: str
    workspace: str
    tree: str
    position: int
    mounted: bool | None = None
    node: str = ""


class SnapshotPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a complete snapshot: what the archive of one node holds. manifest: SHA-256 of its manifest there."""

    node: str
    manifest: str
    bytes: int = 0
    added_bytes: int = 0


class SnapshotMissing(msgspec.Struct, frozen=True):
    """A workspace that was asked for and that a snapshot does not hold. why: in words, such as `is not there`."""

    agent: str
    workspace: str
    why: str


class SnapshotStarted(Fact, frozen=True):
    """`snapshot:<id>`: the cut. What the snapshot holds is what there was at this event's seq, its position.

    reason: asked, restore, rollback, reset, clean, failsafe, schedule, cleanup, or in words; automatic: nobody asked
    for it, so it expires; agents: whose workspaces were asked for; node: where it lies. run: of a workflow, which may
    go back to it while it is open.
    """

    snapshot: str
    reason: str
    automatic: bool = False
    agents: tuple[str, ...] = ()
    node: str = ""
    run: str = ""


class SnapshotTaken(Fact, frozen=True):
    """`snapshot:<id>`: complete, of the log at `position`.

    path: the file that it was exported to, "" where it was not; manifest: SHA-256 of its manifest; bytes: of all
    files; added_bytes: what the snapshot store grew by; torn: files that changed while they were read; not_held:
    mount points, and what could not be read; both as tree/path; missing: workspaces that were asked for and are not in
    it, which was allowed. parts: where it lies on several nodes, what each of them holds.
    """

    snapshot: str
    position: int
    automatic: bool = False
    path: str = ""
    reason: str = ""
    manifest: str = ""
    workspaces: tuple[SnapshotWorkspace, ...] = ()
    bytes: int = 0
    added_bytes: int = 0
    torn: tuple[str, ...] = ()
    node: str = ""
    not_held: tuple[str, ...] = ()
    missing: tuple[SnapshotMissing, ...] = ()
    parts: tuple[SnapshotPart, ...] = ()


class SnapshotFailed(Fact, frozen=True):
    """`snapshot:<id>`: not complete; nothing of it is kept."""

    snapshot: str
    reason: str = ""


class SnapshotExpired(Fact, frozen=True):
    """`snapshot:<id>`: deleted by retention."""

    snapshot: str


class SnapshotPinned(Fact, frozen=True):
    """`snapshot:<id>`: is kept until it is unpinned."""

    snapshot: str


class SnapshotUnpinned(Fact, frozen=True):
    """`snapshot:<id>`: is no longer kept for ever; retention may delete an automatic one when its days are over."""

    snapshot: str


class RestoreStarted(Fact, frozen=True):
    """`restore:<id>`: its pre-restore snapshot, `before`, is taken, the agents are being stopped."""

    restore: str
    to: int
    source: str = ""
    before: str = ""


class RestoreDone(Fact, frozen=True):
    """`restore:<id>`: from here on only the events 1..to and this seq onwards count for the state (`restore.line`).

    before: the snapshot that undoes it. pending: nodes that exchange their workspaces from here on, and whose agents
    take nothing until they have (`RestorePartPlaced`).
    """

    restore: str
    to: int
    source: str = ""
    before: str = ""
    pending: tuple[str, ...] = ()


class RestorePlaced(Fact, frozen=True):
    """`restore:<id>`: only these workspaces were put back; the line is not cut. before: the snapshot that undoes it.

    pending: as in `RestoreDone`; the workspaces are those of such nodes, too.
    """

    restore: str
    source: str
    workspaces: tuple[str, ...] = ()
    before: str = ""
    pending: tuple[str, ...] = ()


class RestoreFailed(Fact, frozen=True):
    """`restore:<id>`: nothing was changed, but for workspaces that `reason` names."""

    restore: str
    reason: str = ""


class LogSealed(Fact, frozen=True):
    """`log:segments`: events first..last lie in a segment file. sha256: of it; chain: of `last`; path: its name."""

    first: int
    last: int
    sha256: str
    chain: str
    path: str = ""


class LogForked(Fact, frozen=True):
    """`log:lineage`: an operator accepted that acknowledged events were lost, or has erased them: `redis flush`, and a
    restore that loads a log in the place of an empty one. Up to `known_seq` nobody looks for them any more; where all
    was `erased`, for none of them, as others may have appended until then.
    """

    known_seq: int
    known_chain: str
    reason: str = ""
    erased: bool = False


class LogBranched(Fact, frozen=True):
    """`log:branch`: the first event behind a history that is another namespace's. This log is a fork of that one.

    source: the namespace; at: the position up to which both logs are one, the one before this event; chain: of that.
    root: the folder of the fork, with its workspaces. What was open there ends behind this event, in the same load.
    """

    source: str
    at: int
    chain: str = ""
    root: str = ""


LogFact: TypeAlias = (
    SnapshotStarted
    | SnapshotTaken
    | SnapshotFailed
    | SnapshotExpired
    | SnapshotPinned
    | SnapshotUnpinned
    | RestoreStarted
    | RestoreDone
    | RestorePlaced
    | RestoreFailed
    | LogSealed
    | LogForked
    | LogBranched
)

LOG_FACTS: dict[str, type[LogFact]] = {
    "snapshot.started": SnapshotStarted,
    "snapshot.taken": SnapshotTaken,
    "snapshot.failed": SnapshotFailed,
    "snapshot.expired": SnapshotExpired,
    "snapshot.pinned": SnapshotPinned,
    "snapshot.unpinned": SnapshotUnpinned,
    "restore.started": RestoreStarted,
    "restore.done": RestoreDone,
    "restore.placed": RestorePlaced,
    "restore.failed": RestoreFailed,
    "log.sealed": LogSealed,
    "log.forked": LogForked,
    "log.branched": LogBranched,
}
"""The names of these facts in the stream."""
