"""The view `firings`: what has fired of each schedule, row id = schedule.

It folds all events, not only those of the line: a restore fires nothing again. Indexes: `all`, by the last due time;
`open`, those with a firing that has not ended.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.schedules.schedule import Firing, evolve_firing

NAME = "firings"
VERSION = 1
FOLLOWS_LINE = False

Rows = dict[str, Firing]
_decoder = msgspec.json.Decoder(Firing)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    schedule: str = event.fact.schedule  # type: ignore[union-attr]
    return schedule


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        schedule = touches(event)
        rows[schedule] = evolve_firing(rows.get(schedule), event)

    return dict.fromkeys((e.ScheduleFired, e.ScheduleSkipped, e.ScheduleEnded), fold)


def indexes(row: Firing) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    scores = {"all": row.last_due}
    return scores | {"open": row.open[0]} if row.open else scores


def decode(_row_id: str, data: bytes) -> Firing:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
