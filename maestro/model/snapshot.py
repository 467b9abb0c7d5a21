"""Snapshots: what the log says of each, and what may become of it.

A snapshot is `taking` from the cut to its last byte, then `complete` or `failed`; a complete one may end `expired`. One
over several nodes is `asked` and `open` before that (`coordination/`). Restoring one is `restore.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from maestro.model.coordination.part import OPEN, Across, StepFact, across_of, fold, forget_contents
from maestro.model.errors import Conflict, NotFound, Refused
from maestro.model.events import (
    AnyFact,
    Event,
    NewEvent,
    SnapshotAsked,
    SnapshotExpired,
    SnapshotFailed,
    SnapshotMissing,
    SnapshotPart,
    SnapshotPinned,
    SnapshotStarted,
    SnapshotTaken,
    SnapshotUnpinned,
    SnapshotWorkspace,
)
from maestro.model.ids import check_id, shown

SCHEDULED = "schedule"
"""The reason of a snapshot that a schedule took: it expires as automatic ones do, but may be the latest."""
OVER = frozenset({"failed", "expired"})
"""The states of snapshots of which nothing is kept."""


class Snapshot(msgspec.Struct, omit_defaults=True):
    """A snapshot; a row of the view `snapshots`. state: asked, open, taking, complete, failed, expired; why: it failed.

    position: of the log at the cut; taken_at: of the cut, ms (before it, both of the wish); the rest as in
    `SnapshotStarted` and `SnapshotTaken`. across: of one over several nodes, how far each is, until it is complete.
    """

    id: str
    version: int
    position: int
    taken_at: int
    automatic: bool = False
    reason: str = ""
    node: str = ""
    agents: tuple[str, ...] = ()
    state: str = "taking"
    path: str = ""
    manifest: str = ""
    workspaces: tuple[SnapshotWorkspace, ...] = ()
    bytes: int = 0
    added_bytes: int = 0
    torn: tuple[str, ...] = ()
    pinned: bool = False
    why: str = ""
    missing: tuple[SnapshotMissing, ...] = ()
    not_held: tuple[str, ...] = ()
    run: str = ""
    parts: tuple[SnapshotPart, ...] = ()
    across: Across | None = None

    @property
    def complete(self) -> bool:
        """Whether the snapshot can be restored."""
        return self.state == "complete"

    @property
    def kept(self) -> bool:
        """Whether retention leaves the snapshot alone: it is pinned, or was asked for and is not only in a file."""
        return self.pinned or not (self.automatic or self.path)

    @property
    def open(self) -> bool:
        """Whether it is one over several nodes that is not over."""
        return self.across is not None and self.state in OPEN

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes on which it lies, or is to lie."""
        if self.parts:
            return tuple(part.node for part in self.parts)
        return tuple(self.across.parts) if self.across is not None else (self.node,)

    def lies_on(self, node: str) -> bool:
        """Whether files of the snapshot are on this node; early logs do not say where, and had one node only."""
        return not {"", node}.isdisjoint(self.nodes)

    def manifest_on(self, node: str) -> str:
        """The SHA-256 of its manifest in the archive of a node."""
        return next((part.manifest for part in self.parts if part.node == node), self.manifest)


def evolve(row: Snapshot | None, event: Event) -> Snapshot | None:
    """The snapshot after the event, changed in place."""
    fact = event.fact
    if isinstance(fact, SnapshotStarted):
        return _started(row, fact, event)
    if isinstance(fact, SnapshotTaken):
        return _taken(row, fact, event)
    if isinstance(fact, SnapshotAsked) and row is None:
        return _asked(fact, event)
    if row is None:
        return None
    match fact:
        case _ if isinstance(fact, StepFact):
            row.state = fold(row.across, fact, row.state)
        case SnapshotFailed():
            row.state, row.why = "failed", fact.reason
            if row.across is not None:
                forget_contents(row.across)
        case SnapshotExpired():
            row.state = "expired"
        case SnapshotPinned():
            row.pinned = True
        case SnapshotUnpinned():
            row.pinned = False
        case _:
            return row
    row.version = event.seq
    return row


def _asked(fact: SnapshotAsked, event: Event) -> Snapshot:
    agents = [agent for part in fact.parts for agent in part.agents] + [each.agent for each in fact.missing]
    row = Snapshot(
        fact.snapshot, event.seq, event.seq, event.at, fact.automatic, fact.reason, fact.node, tuple(agents), "asked"
    )
    row.run, row.missing = fact.run, fact.missing
    row.across = across_of(fact, event.seq)
    return row


def _started(row: Snapshot | None, fact: SnapshotStarted, event: Event) -> Snapshot:
    across = row.across if row is not None and row.open else None
    missing = row.missing if row is not None and across is not None else ()
    row = Snapshot(fact.snapshot, event.seq, event.seq, event.at, fact.automatic, fact.reason, fact.node, fact.agents)
    row.run, row.across, row.missing = fact.run, across, missing
    return row


def _taken(row: Snapshot | None, fact: SnapshotTaken, event: Event) -> Snapshot:
    if row is None:  # an early build appended no `snapshot.started`
        row = Snapshot(fact.snapshot, event.seq, fact.position, event.at, fact.automatic, fact.reason, fact.node)
    row.state, row.version = "complete", event.seq
    row.path, row.manifest, row.workspaces = fact.path, fact.manifest, fact.workspaces
    row.bytes, row.added_bytes, row.torn = fact.bytes, fact.added_bytes, fact.torn
    row.missing = fact.missing
    row.not_held = fact.not_held
    row.parts, row.across = fact.parts, None
    return row


def latest(rows: Iterable[Snapshot]) -> Snapshot | None:
    """The newest complete snapshot that was asked for, at once or by a schedule, and stayed in the archive."""
    return max((row for row in rows if _is_asked(row)), key=lambda row: row.position, default=None)


def _is_asked(row: Snapshot) -> bool:
    return row.complete and (not row.automatic or row.reason == SCHEDULED) and not row.path


def outlived(
    rows: Iterable[Snapshot],
    now: int,
    retention_ms: int,
    damaged: Collection[str] = (),
    runs: Collection[str] = (),
) -> list[Snapshot]:
    """The snapshots that retention deletes at `now`, server time in ms: complete, old enough, and kept by nobody.

    damaged: ids of those that are known to lack something. A whole one is not deleted while only damaged ones would be
    left of one of its workspaces. runs: of workflows, whose snapshots are needed.
    """
    there = [row for row in rows if row.complete]
    old = [row for row in there if now - row.taken_at > retention_ms]
    going = {row.id: row for row in old if not row.kept and (not row.run or row.run not in runs)}
    staying = [row for row in there if row.id not in going]
    whole = {agent for row in staying if row.id not in damaged for agent in _agents(row)}
    hurt = {agent for row in staying if row.id in damaged for agent in _agents(row)}
    for row in sorted(going.values(), key=lambda row: row.position, reverse=True):
        if row.id not in damaged and _agents(row) & hurt - whole:
            whole |= _agents(row)
            del going[row.id]
    return list(going.values())


def _agents(row: Snapshot) -> set[str]:
    return {held.agent for held in row.workspaces}


def unfinished(rows: Iterable[Snapshot], here: str, up: Collection[str], floor: int = 0) -> list[Snapshot]:
    """The snapshots that processes which are gone were taking, by the node `here`, which has just started.

    up: the nodes that are up. Another one of these is still taking its own. One over several nodes is the leader's to
    end, but where the log was loaded from it: then it lies behind the floor.
    """
    own = [row for row in rows if row.state == "taking" and (row.across is None or row.position < floor)]
    return [row for row in own if here in row.nodes or row.node == here or row.node not in up]


def retained(there: Iterable[str], rows: Mapping[str, Snapshot]) -> list[str]:
    """Of the snapshots that lie in the archive, those that stay. rows: what the log knows of them, by id.

    Only what this log knows to be over goes: another namespace, or a log that was flushed since, has snapshots in the
    same archive, and they may be the last of what there was.
    """
    return [name for name in there if name not in rows or rows[name].state not in OVER]


class KeptMount(msgspec.Struct, frozen=True, order=True):
    """Whether a workspace was a mount point when a snapshot kept it. taken_at: ms."""

    position: int
    mounted: bool
    taken_at: int


def kept_mounts(rows: Iterable[Snapshot]) -> dict[tuple[str, str], KeptMount]:
    """Of each agent and its workspace, as the newest of these snapshots that tells of them has it."""
    found: dict[tuple[str, str], KeptMount] = {}
    for row in rows:
        for held in row.workspaces if row.complete else ():
            if held.mounted is not None:
                kept, place = KeptMount(row.position, held.mounted, row.taken_at), (held.agent, held.workspace)
                found[place] = max(kept, found.get(place, kept))
    return found


def covered(agent: str, since: int, found: SnapshotWorkspace, kept: Mapping[tuple[str, str], KeptMount]) -> str:
    """Why a workspace is not the folder that was archived last, in words; "" where nothing says so.

    A file system was mounted over it, or is not mounted: what is there now is another folder. since: when the agent was
    assigned there, ms; found: as it is now; kept: as snapshots have it (`kept_mounts`).
    """
    last = kept.get((agent, found.workspace))
    if last is None or last.taken_at < since or last.mounted == found.mounted:
        return ""
    now = "is now a mount point, and was none" if found.mounted else "is no mount point any more, and was one"
    return f"{now} when it was kept last (assign the agent again if that is meant)"


def decide_start(fact: SnapshotStarted, row: Snapshot | None, floor: int) -> list[NewEvent]:
    """Begin a snapshot: the event is its cut. Raises Conflict where there is a snapshot of that id."""
    check_id(fact.snapshot, "snapshot")
    if row is not None:
        raise Conflict(f"there is a snapshot {fact.snapshot}", mend="try again")
    return [NewEvent(f"snapshot:{fact.snapshot}", fact, floor)]


def decide_end(fact: SnapshotTaken | SnapshotFailed, row: Snapshot | None, floor: int) -> list[NewEvent]:
    """End a snapshot, complete or failed; nothing where it has ended before.

    A snapshot that neither holds nor names as missing what was asked for has failed, whoever says that it is complete.
    """
    if row is None or row.state != "taking":
        return []
    if isinstance(fact, SnapshotTaken) and (lacking := lacks(row, fact)):
        fact = SnapshotFailed(row.id, f"it does not hold the workspace of {', '.join(lacking)}")
    return [_at_version(row, fact, floor)]


def lacks(row: Snapshot, fact: SnapshotTaken) -> list[str]:
    """The agents whose workspaces were asked for, and that a snapshot neither holds nor names as missing."""
    told = {each.agent for each in fact.workspaces} | {each.agent for each in fact.missing}
    return [agent for agent in row.agents if agent not in told]


def decide_expired(row: Snapshot, floor: int) -> list[NewEvent]:
    """Record that a snapshot is deleted; at its version, so that a pin that comes between is not overlooked."""
    return [_at_version(row, SnapshotExpired(row.id), floor)]


def decide_pin(snapshot: str, row: Snapshot | None, pinned: bool, floor: int) -> list[NewEvent]:
    """Pin a snapshot, so that it is kept for ever, or unpin it; nothing where that is so.

    Raises NotFound; Refused where it is not complete.
    """
    row = existing(snapshot, row)
    if not row.complete:
        raise Refused(f"snapshot {row.id} is {row.state}", mend="maestro state snapshots lists those that are complete")
    if row.pinned == pinned:
        return []
    return [_at_version(row, SnapshotPinned(row.id) if pinned else SnapshotUnpinned(row.id), floor)]


def existing(snapshot: str, row: Snapshot | None) -> Snapshot:
    """The row of a snapshot that must exist. Raises NotFound."""
    if row is None:
        raise NotFound(
            f"there is no snapshot {shown(snapshot)}",
            mend="maestro state snapshots lists all",
            sought=("snapshot", snapshot),
        )
    return row


def _at_version(row: Snapshot, fact: AnyFact, floor: int) -> NewEvent:
    return NewEvent(f"snapshot:{row.id}", fact, max(row.version, floor))
