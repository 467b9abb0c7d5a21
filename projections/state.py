"""The view `state`: the shared keys of the line, row id = key.

A key that has outlived its time stays a row until its `state.deleted`; readers hide it by `expires_at`, so that
the fold depends on nothing but the log. Indexes: `all`, by position; `name`, all at score 0, for prefixes;
`expires`, by the time when it ends, for the sweep.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias, cast

import msgspec

from maestro.model import events as e
from maestro.model.state import StateKey, evolve

NAME = "state"
VERSION = 1
FOLLOWS_LINE = True

StateFact: TypeAlias = e.StateSet | e.StateDeleted
FACTS: tuple[type[e.AnyFact], ...] = StateFact.__args__

_decoder = msgspec.json.Decoder(StateKey)


def touches(event: e.Event) -> tuple[str, ...]:
    """The row that the event changes. The event is one of FACTS."""
    return (cast(StateFact, event.fact).key,)


def apply(rows: MutableMapping[str, StateKey], event: e.Event) -> None:
    """Fold one event of FACTS into the rows, in place."""
    (key,) = touches(event)
    row = evolve(rows.get(key), event)
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row


def indexes(row: StateKey) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    scores = {"all": row.version, "name": 0}
    return scores | {"expires": row.expires_at} if row.expires_at else scores


def decode(_row_id: str, data: bytes) -> StateKey:
    """A row from its canonical JSON."""
    return _decoder.decode(data)
