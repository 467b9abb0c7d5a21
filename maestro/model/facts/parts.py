"""What happens to snapshots and restores that several nodes take part in: the wish, and each node's part.

A part is what one node does of it. The asker appends the wish, each node what it has done of its part, and the leader
all else, by `maestro.model.coordination`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from maestro.model.facts import Fact, Text
from maestro.model.facts.log import SnapshotMissing, SnapshotWorkspace


class PartWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's part of a snapshot: the agents whose workspaces it reads.

    whole: all runs of the node stand still meanwhile, not only those of these agents.
    """

    node: str
    agents: tuple[str, ...] = ()
    whole: bool = False


class SnapshotAsked(Fact, frozen=True):
    """`snapshot:<id>`: a snapshot over several nodes is wished for. reason, automatic, run: as in `SnapshotStarted`.

    node: the asker's. parts: of each node. missing: what is left out, as that was allowed. allow_missing: a part that
    fails is left out, too. restore: the restore that it is taken for, which keeps what it holds still; "" for none.
    include_logs: as `state snapshot` has it.
    """

    snapshot: str
    reason: str
    node: str
    parts: tuple[PartWanted, ...]
    automatic: bool = False
    missing: tuple[SnapshotMissing, ...] = ()
    allow_missing: bool = False
    allow_torn: bool = False
    include_logs: bool = False
    run: str = ""
    restore: str = ""


class SnapshotOpened(Fact, frozen=True):
    """`snapshot:<id>`: its turn has come: each node with a part holds its trees still. deadline_at: server time, ms."""

    snapshot: str
    deadline_at: int


class SnapshotPartReady(Fact, frozen=True):
    """`snapshot:<id>`: nothing of a part moves any more, and the ends of its runs are in the log.

    incarnation: of the node's daemon.
    """

    snapshot: str
    node: str
    incarnation: str = ""


class SnapshotPartTaken(Fact, frozen=True):
    """`snapshot:<id>`: a part is read and kept. Fields as in `SnapshotTaken`, of this node's archive."""

    snapshot: str
    node: str
    manifest: str = ""
    workspaces: tuple[SnapshotWorkspace, ...] = ()
    bytes: int = 0
    added_bytes: int = 0
    torn: tuple[str, ...] = ()
    not_held: tuple[str, ...] = ()
    missing: tuple[SnapshotMissing, ...] = ()


class SnapshotPartFailed(Fact, frozen=True):
    """`snapshot:<id>`: there will be no such part. reason: `late` where the node let its trees go on too early."""

    snapshot: str
    node: str
    reason: str


class RestorePlacement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A workspace that a part of a restore puts back. recorded: the path that it had; root: the agent's root.

    snapshot, tree: where it comes from; source: the node in whose archive that lies; foreign: the user named the
    folder, which is no agent's, to be replaced.
    """

    agent: str
    workspace: str
    recorded: str
    root: str
    snapshot: str
    tree: str
    source: str = ""
    foreign: bool = False


class RestorePartWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's part of a restore. agents: those that have a workspace there now, and are stopped for it."""

    node: str
    placements: tuple[RestorePlacement, ...] = ()
    agents: tuple[str, ...] = ()


class RestoreAsked(Fact, frozen=True):
    """`restore:<id>`: a restore over several nodes is wished for. to: as in `RestoreDone`, None for workspaces only.

    node: the asker's; source: in words. options: as JSON, what the user asked for besides, and what the end appends.
    """

    restore: str
    node: str
    parts: tuple[RestorePartWanted, ...]
    to: int | None = None
    source: str = ""
    options: Text = ""


class RestoreOpened(Fact, frozen=True):
    """`restore:<id>`: its turn has come: each node verifies and stages its part. deadline_at: server time, ms."""

    restore: str
    deadline_at: int


class RestorePartStaged(Fact, frozen=True):
    """`restore:<id>`: a part is verified and its stages are whole.

    skipped: workspaces that are left out, with why; damaged: those of them whose archives are. lost: workspace ->
    damaged files that are left out, with why.
    """

    restore: str
    node: str
    skipped: dict[str, str] = msgspec.field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    lost: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)


class RestorePartFailed(Fact, frozen=True):
    """`restore:<id>`: a part cannot be done, before the decision. given_up: the asker wants none of it any more."""

    restore: str
    node: str
    reason: str
    given_up: bool = False


class RestorePartPlaced(Fact, frozen=True):
    """`restore:<id>`: behind the decision: a node has exchanged its workspaces. left: those it could not, with why."""

    restore: str
    node: str
    workspaces: tuple[str, ...] = ()
    left: dict[str, str] = msgspec.field(default_factory=dict)


PartFact: TypeAlias = (
    SnapshotAsked
    | SnapshotOpened
    | SnapshotPartReady
    | SnapshotPartTaken
    | SnapshotPartFailed
    | RestoreAsked
    | RestoreOpened
    | RestorePartStaged
    | RestorePartFailed
    | RestorePartPlaced
)

PART_FACTS: dict[str, type[PartFact]] = {
    "snapshot.asked": SnapshotAsked,
    "snapshot.opened": SnapshotOpened,
    "snapshot.part_ready": SnapshotPartReady,
    "snapshot.part_taken": SnapshotPartTaken,
    "snapshot.part_failed": SnapshotPartFailed,
    "restore.asked": RestoreAsked,
    "restore.opened": RestoreOpened,
    "restore.part_staged": RestorePartStaged,
    "restore.part_failed": RestorePartFailed,
    "restore.part_placed": RestorePartPlaced,
}
"""The names of these facts in the stream."""
