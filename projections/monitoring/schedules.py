"""The view `schedules`: every schedule of a command, row id = name. Index: `all`, by the time of adding."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.schedules.schedule import Schedule, evolve

NAME = "schedules"
VERSION = 1
FOLLOWS_LINE = True

Rows = dict[str, Schedule]
_decoder = msgspec.json.Decoder(Schedule)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    schedule: str = event.fact.schedule  # type: ignore[union-attr]
    return schedule


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        schedule = touches(event)
        row = evolve(rows.get(schedule), event)
        if row is None:
            rows.pop(schedule, None)
        else:
            rows[schedule] = row

    return dict.fromkeys((e.ScheduleAdded, e.ScheduleRemoved, e.ScheduleSwitched), fold)


def indexes(row: Schedule) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    return {"all": row.added_at}


def decode(_row_id: str, data: bytes) -> Schedule:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
