"""The view `restores`: every restore that several nodes take part in, row id = its id.

A restore does not undo that another one was done, so this view folds all events, not only those of the line. A restore
that one node does by itself has no row. Indexes, by the position at which it was asked for: `all`; `open`, those that
are not over; and `over`, the others by their last event: of these only the newest are rows (`bounding/bounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.coordination.restore_parts import Restore, evolve
from maestro.model.events import AnyFact, Event

NAME = "restores"
VERSION = 2
FOLLOWS_LINE = False
ENDED = "over"

FACTS = (
    *(e.RestoreAsked, e.RestoreOpened, e.RestoreStarted, e.RestorePartStaged, e.RestorePartFailed),
    *(e.RestorePartPlaced, e.RestoreDone, e.RestorePlaced, e.RestoreFailed),
)
"""All facts whose subject is a restore."""
ENDS = FACTS

Rows = dict[str, Restore]
_decoder = msgspec.json.Decoder(Restore)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    restore: str = event.fact.restore  # type: ignore[union-attr]
    return restore


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        restore = touches(event)
        row = evolve(rows.get(restore), event)
        if row is not None:
            rows[restore] = row

    return dict.fromkeys(FACTS, fold)


def ended(row: Restore) -> int:
    """The position of the last event of a restore that is over, 0 for any other."""
    return row.version if row.is_over else 0


def indexes(row: Restore) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    return {"all": row.position, ENDED: row.version} if row.is_over else {"all": row.position, "open": row.position}


def decode(_row_id: str, data: bytes) -> Restore:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
