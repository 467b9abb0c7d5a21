"""The view `state`: the shared keys of the line, row id = key.

An expired key stays a row until its `state.deleted`; readers hide it by `expires_at`, so that the fold depends on the
log only. Indexes: `all`, by position; `name`, all at score 0, for prefixes; `expires`, by the time of expiry, for the
sweep.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.state import StateKey, evolve

NAME = "state"
VERSION = 1
FOLLOWS_LINE = True

Rows = dict[str, StateKey]
_decoder = msgspec.json.Decoder(StateKey)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    key: str = event.fact.key  # type: ignore[union-attr, assignment]
    return key


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        key = touches(event)
        row = evolve(rows.get(key), event)
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    return dict.fromkeys((e.StateSet, e.StateDeleted), fold)


def indexes(row: StateKey) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    scores = {"all": row.version, "name": 0}
    return scores | {"expires": row.expires_at} if row.expires_at else scores


def decode(_row_id: str, data: bytes) -> StateKey:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
