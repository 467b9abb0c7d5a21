"""What several nodes do together and is not over: folded into the plan, so that leader and nodes see it alike."""

from __future__ import annotations

from collections.abc import Iterable

from maestro.model.coordination.snapshot_parts import is_past, still_nodes
from maestro.model.coordination.turn import Work
from maestro.model.coordination.world import work_of_snapshot
from maestro.model.events import (
    Event,
    SnapshotAsked,
    SnapshotFailed,
    SnapshotOpened,
    SnapshotPartFailed,
    SnapshotPartReady,
    SnapshotPartTaken,
    SnapshotStarted,
    SnapshotTaken,
)
from maestro.model.snapshot import Snapshot, evolve

WorkFact = (
    SnapshotAsked
    | SnapshotOpened
    | SnapshotPartReady
    | SnapshotStarted
    | SnapshotPartTaken
    | SnapshotPartFailed
    | SnapshotTaken
    | SnapshotFailed
)


class OpenWorks:
    """The snapshots over several nodes that are not over, by id. floor: of the log."""

    def __init__(self, snapshots: Iterable[Snapshot] = (), floor: int = 0) -> None:
        self.snapshots = {row.id: row for row in snapshots}
        self._floor = floor

    def apply(self, event: Event, fact: WorkFact) -> None:
        """Fold one event."""
        row = evolve(self.snapshots.pop(fact.snapshot, None), event)
        if row is not None and row.open:
            self.snapshots[row.id] = row

    @property
    def still(self) -> dict[str, str]:
        """The nodes that hold still, with what they do it for: nothing is released to them."""
        return still_nodes(self.current, self._floor)

    @property
    def current(self) -> list[Snapshot]:
        """The snapshots that anybody is to go on with."""
        return [row for row in self.snapshots.values() if not is_past(row, self._floor)]

    @property
    def works(self) -> list[Work]:
        """All of it, as it waits for its turn."""
        return [work_of_snapshot(row) for row in self.current]
