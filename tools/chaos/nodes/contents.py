"""What snapshots and workspaces hold, against the log: each snapshot is one cut, each restore took all or nothing.

Each run writes into the file `history` of its workspace. So what is there at a position is known from the log: what
the snapshot held from which the workspace was put back last, and behind it what the runs have written that were
released since; nothing of others, and all of those that had ended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from maestro.model.errors import MaestroError
from maestro.model.events import (
    Event,
    FailsafeReturned,
    RestoreAsked,
    RestoreDone,
    RestorePartPlaced,
    RestorePartStaged,
    RestorePlaced,
    RunEnded,
    RunReleased,
    SnapshotTaken,
)
from maestro.workspaces.archive.library import Archive
from tools.chaos.nodes.fleet import Fleet, FleetWork

HISTORY = "history"


class Foundation(NamedTuple):
    """What a workspace was put back from last. at: the position where that was told, 0 for never. restore: which."""

    at: int = 0
    restore: str = ""
    lines: tuple[str, ...] = ()


class Past:
    """What a log says of workspaces. contents: of each snapshot, by agent."""

    def __init__(
        self, work: FleetWork, events: Sequence[Event], contents: Mapping[str, Mapping[str, tuple[str, ...]]]
    ) -> None:
        self._events = events
        self._contents = contents
        self._ended = set(work.evidence_of("ended"))
        self._asked = {event.fact.restore: event.fact for event in events if isinstance(event.fact, RestoreAsked)}
        self._bases: dict[str, list[Foundation]] = {}
        decided: set[str] = set()
        skipped: dict[str, set[str]] = {}
        for event in events:
            match event.fact:
                case RestorePartStaged() as fact:
                    skipped.setdefault(fact.restore, set()).update(fact.skipped)
                case RestoreDone() | RestorePlaced() as fact:
                    decided.add(fact.restore)
                case RestorePartPlaced() as fact if fact.restore in decided:
                    self._placed(event.seq, fact, skipped.get(fact.restore, set()))
                case _:
                    pass

    def _placed(self, seq: int, fact: RestorePartPlaced, skipped: set[str]) -> None:
        part = next(part for part in self._asked[fact.restore].parts if part.node == fact.node)
        for each in part.placements:
            if each.workspace not in skipped and each.workspace not in fact.left:
                lines = self._contents.get(each.snapshot, {}).get(each.agent, ())
                self._bases.setdefault(each.agent, []).append(Foundation(seq, fact.restore, lines))

    def breaches(self, what: str, agent: str, position: int, lines: Sequence[str]) -> Iterator[str]:
        """What is amiss with what a workspace holds as of a position."""
        base = max((each for each in self._bases.get(agent, ()) if each.at < position), default=Foundation())
        if tuple(lines[: len(base.lines)]) != base.lines:
            yield f"{what}: {agent} does not go on from what restore {base.restore} put back: {lines}, {base.lines}"
            return
        tail = list(lines[len(base.lines) :])
        released: dict[str, int] = {}
        over: set[str] = set()
        returned: set[str] = set()
        for event in self._events:
            if not base.at < event.seq < position:
                continue
            match event.fact:
                case RunReleased(run=run, agent=name) if name == agent:
                    released[run] = event.seq
                case RunEnded(run=run) if run in self._ended:
                    over.add(run)
                case FailsafeReturned(run=run):
                    returned.add(run)
                case _:
                    pass
        for line in tail:
            if line[1:] not in released:
                yield f"{what}: {agent} has {line}, which was not released between {base.at} and {position}"
            if line[1:] in returned:
                yield f"{what}: {agent} has {line}, which failsafe mode took back"
        for run in over & released.keys() - returned:
            if not {f"+{run}", f"-{run}"} <= set(tail):
                yield f"{what}: {agent} lacks {run}, which was released at {released[run]} and had ended: {tail}"


def contents(fleet: Fleet, events: Sequence[Event], broken: list[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """What each snapshot of several nodes holds, by agent; each part is verified. broken: gets what is amiss."""
    ids = fleet.ids()
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for fact in (event.fact for event in events if isinstance(event.fact, SnapshotTaken) and event.fact.parts):
        for part in fact.parts:
            try:
                Archive(ids[part.node].home.path / "snapshots").verify(fact.snapshot, part.manifest)
            except MaestroError as error:
                broken.append(f"snapshot {fact.snapshot}, node {part.node}: {error.line()}")
        for held in fact.workspaces:
            archive = Archive(ids[held.node or fact.node].home.path / "snapshots")
            with tempfile.TemporaryDirectory(dir=fleet.place.path) as folder:
                try:
                    archive.restore(fact.snapshot, held.tree, Path(folder) / "stage")
                except MaestroError as error:
                    broken.append(f"snapshot {fact.snapshot}, {held.agent}: {error.line()}")
                    continue
                found.setdefault(fact.snapshot, {})[held.agent] = lines_of(Path(folder) / "stage")
    return found


def lines_of(workspace: Path) -> tuple[str, ...]:
    """What runs have written in a workspace."""
    file = workspace / HISTORY
    return tuple(file.read_text().splitlines()) if file.exists() else ()


def torn(work: FleetWork, events: Sequence[Event]) -> list[str]:
    """The breaches of all that snapshots and workspaces hold."""
    broken: list[str] = []
    kept = contents(work.fleet, events, broken)
    if work.fleet.lost_tail:  # what was put back, and what was written, is not in the log any more
        return broken
    past = Past(work, events, kept)
    for fact in (event.fact for event in events if isinstance(event.fact, SnapshotTaken)):
        for agent, lines in kept.get(fact.snapshot, {}).items():
            broken += past.breaches(f"snapshot {fact.snapshot}", agent, fact.position, lines)
    for agent, workspace in work.workspaces.items():
        broken += past.breaches("at the end", agent, events[-1].seq + 1, lines_of(workspace))
    return broken
