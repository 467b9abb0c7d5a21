"""What the leader appends of snapshots over several nodes, and what asker and nodes may append of their own.

The rows are the only memory: whoever leads next decides on the same ones. A node's own facts go in at any version, as
they are told by the node alone, and one that comes too late changes nothing (`part.fold`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.coordination.part import FAILED, READY, TAKEN, WANTED, Across, Part
from maestro.model.coordination.turn import is_over, may_begin
from maestro.model.coordination.world import Decider, Move, World, work_of_snapshot
from maestro.model.errors import Conflict
from maestro.model.events import (
    AnyFact,
    NewEvent,
    SnapshotAsked,
    SnapshotFailed,
    SnapshotMissing,
    SnapshotOpened,
    SnapshotPart,
    SnapshotPartFailed,
    SnapshotStarted,
    SnapshotTaken,
    SnapshotWorkspace,
)
from maestro.model.ids import check_id
from maestro.model.node import Node
from maestro.model.snapshot import Snapshot, decide_end

READY_MS: Final = 15_000
"""How long the nodes have to hold their trees still, from the moment at which its turn has come."""
THAW_AFTER_MS: Final = 5_000
"""How much longer a node holds its trees still, by its own clock, where no cut comes."""
LATE: Final = "late"
"""Why a node has no part of what it has let go on before the cut came."""


def decide_asked(fact: SnapshotAsked, row: Snapshot | None, floor: int) -> list[NewEvent]:
    """Wish for a snapshot over several nodes. Raises Conflict where there is a snapshot of that id."""
    check_id(fact.snapshot, "snapshot")
    if row is not None:
        raise Conflict(f"there is a snapshot {fact.snapshot}", mend="try again")
    return [NewEvent(f"snapshot:{fact.snapshot}", fact, floor)]


def decide_given_up(row: Snapshot | None, why: str, floor: int) -> list[NewEvent]:
    """Have a snapshot fail that nobody waits for any more; nothing where it is over."""
    return [_event(row, SnapshotFailed(row.id, why), floor)] if row is not None and row.open else []


def wanted_of(row: Snapshot | None, node: str) -> Part | None:
    """The part of a snapshot that a node is to hold still for now; None where there is none."""
    if row is None or row.across is None or row.state != "open":
        return None
    part = row.across.parts.get(node)
    return part if part is not None and part.state == WANTED else None


def still_nodes(rows: Collection[Snapshot], floor: int) -> dict[str, str]:
    """The nodes that hold still, with the snapshot that they do it for: nothing is released to them."""
    found: dict[str, str] = {}
    for row in rows:
        if row.state in ("open", "taking") and not is_past(row, floor) and row.across is not None:
            found |= dict.fromkeys(row.across.open_nodes, row.id)
    return found


def is_past(row: Snapshot, floor: int) -> bool:
    """Whether it is of a log that was loaded, or cut, behind it: who took it is gone, and has no part in what is on."""
    return row.state == "taking" and row.position < floor


def of_one_node(taken: SnapshotTaken, row: Snapshot) -> SnapshotTaken:
    """A snapshot from which a log was loaded, as the one node has it that loaded it: what it lacks it names."""
    if row.across is None:
        return taken
    told = {each.agent for each in taken.workspaces} | {each.agent for each in taken.missing}
    others = [
        SnapshotMissing(agent, "", f"lies in the archive of node {part.node}")
        for part in row.across.parts.values()
        for agent in part.agents
        if agent not in told
    ]
    return msgspec.structs.replace(taken, missing=(*row.missing, *taken.missing, *others))


def decide_snapshots(world: World) -> list[Move]:
    """What is to be appended now. Each row has one move at most: what follows from that is decided when it is there."""
    moves = []
    for row in sorted(world.snapshots, key=lambda row: row.position):
        fact = _next(row, world) if row.across is not None and row.open else None
        if fact is not None:
            moves.append(Move((_event(row, fact, world.floor),), str(row.version)))
    return moves


def due_snapshots(world: World) -> int | None:
    """When a deadline is over, in ms of the server; None while none runs."""
    rows = [row for row in world.snapshots if row.state == "open"]
    return min((row.across.deadline_at + 1 for row in rows if row.across is not None), default=None)


SNAPSHOTS: Final = Decider(decide_snapshots, due_snapshots)


def _next(row: Snapshot, world: World) -> AnyFact | None:
    across = row.across
    assert across is not None
    if is_past(row, world.floor):
        return None
    if across.restore and is_over(across.restore, world.works):
        return SnapshotFailed(row.id, f"restore {across.restore} is over")
    if row.state == "asked" and not may_begin(work_of_snapshot(row), world.works):
        return None
    for part in across.of(WANTED, READY):
        if why := _why_gone(part, world):
            return SnapshotPartFailed(row.id, part.node, why)
    if why := _why_failed(across):
        return SnapshotFailed(row.id, why)
    match row.state:
        case "asked":
            return SnapshotOpened(row.id, world.now + READY_MS)
        case "open":
            return _cut(row, across, world)
        case _:
            return None if across.open_nodes else _end(row, across, world)


def _cut(row: Snapshot, across: Across, world: World) -> AnyFact | None:
    """The cut, where all parts are ready in time; nothing while that is waited for."""
    waiting = next(across.of(WANTED), None)
    if world.now > across.deadline_at:
        if waiting is not None:
            what = f"it did not hold still within {READY_MS // 1000} s"
            return SnapshotPartFailed(row.id, waiting.node, what)
        return SnapshotFailed(row.id, "nobody made the cut in time; take it again")
    if waiting is not None:
        return None
    return SnapshotStarted(row.id, row.reason, row.automatic, row.agents, row.node, row.run)


def _end(row: Snapshot, across: Across, world: World) -> AnyFact | None:
    found = [part.taken for part in across.of(TAKEN) if part.taken is not None]
    workspaces = [_placed(held, each.node) for each in found for held in each.workspaces]
    missing = list(row.missing) + [each for part in found for each in part.missing]
    missing += _left_out(across.of(FAILED), world.agents)
    taken = SnapshotTaken(
        row.id,
        row.position,
        row.automatic,
        reason=row.reason,
        workspaces=tuple(workspaces),
        bytes=sum(each.bytes for each in found),
        added_bytes=sum(each.added_bytes for each in found),
        torn=tuple(path for each in found for path in each.torn),
        node=row.node,
        not_held=tuple(path for each in found for path in each.not_held),
        missing=tuple(missing),
        parts=tuple(SnapshotPart(each.node, each.manifest, each.bytes, each.added_bytes) for each in found),
    )
    events = decide_end(taken, row, world.floor)
    return events[0].fact if events else None


def _placed(held: SnapshotWorkspace, node: str) -> SnapshotWorkspace:
    return SnapshotWorkspace(held.agent, held.workspace, held.tree, held.position, held.mounted, node)


def _left_out(parts: Iterable[Part], agents: Mapping[str, Agent]) -> list[SnapshotMissing]:
    found = []
    for part in parts:
        for agent in part.agents:
            row = agents.get(agent)
            place = "" if row is None or row.workspace is None else row.workspace
            found.append(SnapshotMissing(agent, place, f"is on node {part.node}, where {part.why}"))
    return found


def _why_gone(part: Part, world: World) -> str:
    """Why a node will not do its part, "" while it may."""
    node = world.nodes.get(part.node)
    if node is None or node.status != "up":
        return why_away(node)
    if part.state == READY and node.incarnation != part.incarnation:
        return "its daemon ended before it had read all"
    return ""


def why_away(node: Node | None) -> str:
    """Why a node takes no part in anything, in words that follow `node <name>:`."""
    if node is None:
        return "it has never joined"
    return "it is lost" if node.status == "lost" else "its daemon has ended"


def _why_failed(across: Across) -> str:
    failed = list(across.of(FAILED))
    if failed and (not across.allow_missing or len(failed) == len(across.parts)):
        return "; ".join(f"node {part.node}: {part.why}" for part in failed)
    return ""


def _event(row: Snapshot, fact: AnyFact, floor: int) -> NewEvent:
    return NewEvent(f"snapshot:{row.id}", fact, max(row.version, floor))
