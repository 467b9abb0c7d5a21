"""The view `totals`: what the metrics count, of the whole log; one row, id `all`. Index: `all`.

It folds all events, not only those of the line, so that no counter ever goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model.events import AnyFact, Event
from maestro.model.monitoring.totals import COUNTS, Totals

NAME = "totals"
VERSION = 1
FOLLOWS_LINE = False
ROW = "all"

Rows = dict[str, Totals]
_decoder = msgspec.json.Decoder(Totals)


def touches(event: Event) -> str:  # noqa: ARG001 - as views have it
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    return ROW


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def folding(count: Callable[[Totals, Any, int], None]) -> Callable[[Event], None]:
        def fold(event: Event) -> None:
            if ROW not in rows:
                rows[ROW] = Totals()
            count(rows[ROW], event.fact, event.at)

        return fold

    return {fact: folding(count) for fact, count in COUNTS.items()}


def indexes(row: Totals) -> dict[str, int]:  # noqa: ARG001 - as views have it
    """The indexes that contain the row, with its score in each."""
    return {"all": 0}


def decode(_row_id: str, data: bytes) -> Totals:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
