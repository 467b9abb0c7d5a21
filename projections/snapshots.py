"""The view `snapshots`: every snapshot that was begun, row id = its id.

A restore does not undo that a snapshot was taken, so this view folds all events, not only those of the line. Indexes,
by position: `all`, `complete`, `taking`, and `open` for those over several nodes that are not over; `over`, those of
which nothing is kept, by their last event. Of these only the newest are rows (`bounding/bounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.snapshot import OVER, Snapshot, evolve

NAME = "snapshots"
VERSION = 5
FOLLOWS_LINE = False
ENDED = "over"

FACTS = (
    *(e.SnapshotStarted, e.SnapshotTaken, e.SnapshotFailed, e.SnapshotExpired, e.SnapshotPinned, e.SnapshotUnpinned),
    *(e.SnapshotAsked, e.SnapshotOpened, e.SnapshotPartReady, e.SnapshotPartTaken, e.SnapshotPartFailed),
)
"""All facts whose subject is a snapshot."""
ENDS = FACTS

Rows = dict[str, Snapshot]
_decoder = msgspec.json.Decoder(Snapshot)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    snapshot: str = event.fact.snapshot  # type: ignore[union-attr, assignment]
    return snapshot


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        snapshot = touches(event)
        row = evolve(rows.get(snapshot), event)
        if row is not None:
            rows[snapshot] = row

    return dict.fromkeys(FACTS, fold)


def ended(row: Snapshot) -> int:
    """The position of the last event of a snapshot that is over, 0 for any other."""
    return row.version if row.state in OVER else 0


def indexes(row: Snapshot) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    scores = {"all": row.position}
    if row.state in {"complete", "taking"}:
        scores[row.state] = row.position
    if row.state in OVER:
        scores[ENDED] = row.version
    return scores | {"open": row.position} if row.open else scores


def decode(_row_id: str, data: bytes) -> Snapshot:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
