"""The view `alerts`: every alert that was raised, row id = alert id.

It folds all events, not only those of the line, as people were told. Indexes: `open`, by the time since when;
`resolved`, by the time of resolution; `name:<name>`, the open ones of a rule; `ended`, by their last event, the
resolved ones that are not snoozed: of these only the newest are rows (`projections/bounding/bounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.monitoring.alert import Alert, evolve

NAME = "alerts"
VERSION = 2
FOLLOWS_LINE = False
ENDED = "ended"
ENDS = (e.AlertRaised, e.AlertResolved, e.AlertSnoozed)

Rows = dict[str, Alert]
_decoder = msgspec.json.Decoder(Alert)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    alert: str = event.fact.alert  # type: ignore[union-attr]
    return alert


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        alert = touches(event)
        row = evolve(rows.get(alert), event)
        if row is not None:
            rows[alert] = row

    return dict.fromkeys(ENDS, fold)


def ended(row: Alert) -> int:
    """The position of the last event of an alert that nothing of is to be remembered, 0 for any other."""
    return 0 if row.open or row.snoozed_until else row.version


def indexes(row: Alert) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    if row.open:
        return {"open": row.since, f"name:{row.name}": row.since}
    scores = {"resolved": row.resolved_at}
    return scores if row.snoozed_until else scores | {ENDED: row.version}


def decode(_row_id: str, data: bytes) -> Alert:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
